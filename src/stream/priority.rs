//! Who goes first on a busy machine: the picture and its encoder before everything else,
//! generating and archiving after everything else.

use gstreamer as gst;
use gstreamer::prelude::*;
use thread_priority::{ThreadPriority, ThreadPriorityValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// The live picture. Raising a priority needs a right that most users lack; without it the
    /// threads run as usual.
    Picture,
    /// Work ahead of the picture.
    Background,
}

/// Applies to the calling thread and to threads that it starts from now on.
pub fn set_current_thread(importance: Importance) {
    // The crate's scale runs from 0 (most modest) to 99; 50 is an ordinary thread.
    let value: u8 = match importance {
        Importance::Picture => 75,
        Importance::Background => 25,
    };
    if let Ok(value) = ThreadPriorityValue::try_from(value) {
        let _ = thread_priority::set_current_thread_priority(ThreadPriority::Crossplatform(value));
    }
}

/// Gives every streaming thread of a pipeline its importance as it starts. GStreamer reuses
/// threads between pipelines, so all of ours say what they are.
pub fn set_for(pipeline: &gst::Pipeline, importance: Importance) {
    let Some(bus) = pipeline.bus() else { return };
    bus.set_sync_handler(move |_, message| {
        enter(message, importance);
        gst::BusSyncReply::Pass
    });
}

/// For sync handlers: if the message says that a streaming thread starts, it gets its importance.
pub fn enter(message: &gst::Message, importance: Importance) {
    if let gst::MessageView::StreamStatus(status) = message.view()
        && status.get().0 == gst::StreamStatusType::Enter
    {
        set_current_thread(importance);
    }
}
