//! `vfaq live --dry-run`: what would run, in lines for people, without starting any of it.

use std::sync::Arc;

use super::prepare_show::{Checked, check, folder_of};
use super::{LiveOptions, backends};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::config::output::{Container, Monitor, OutputSpec, Profile, RtmpTarget, SrtMode, Target};
use crate::config::{AudioSource, Config, MidiUse};
use crate::stream::capture;
use crate::stream::encoding::EncodeSettings;
use crate::stream::encodings;

pub fn rehearse(options: &LiveOptions, clock: Arc<dyn Clock>) -> Result<Vec<String>> {
    let Checked { config, bundle, outputs, encoder, listener, osc, .. } = check(options, clock)?;
    let live = &config.live;
    let folder = folder_of(options, &config)?;
    let mut lines = vec![
        format!("brief      {}", bundle.title.as_deref().unwrap_or("untitled")),
        format!("project    {}", folder.display()),
        format!(
            "picture    {}x{} at {} fps, {} kb/s, a key frame every {} s",
            live.canvas.0, live.canvas.1, live.fps, live.bitrate_kbps, live.keyframe_seconds
        ),
        format!("encoder    {} ({})", encoder.factory(), encoder.why),
        format!("cycles     {}", makers(&config)),
        format!("prompts    {}", config.llm.provider.as_deref().unwrap_or("evolve by themselves")),
        format!("recording  {}", if live.record { "into the project" } else { "off" }),
        format!("sound      {}", sound(&live.audio)),
        match listener.and_then(|listener| listener.local_addr().ok()) {
            Some(address) => format!("page       http://{address}"),
            None => "page       off".to_owned(),
        },
        match osc {
            Some(bound) => format!("osc        {}", bound.shown()),
            None => "osc        off".to_owned(),
        },
        match (live.midi.enabled, &*live.midi.ports) {
            (MidiUse::Off, _) => "midi       off".to_owned(),
            (_, []) => "midi       every controller".to_owned(),
            (_, ports) => format!("midi       {}", ports.join(", ")),
        },
    ];
    if let Some(preset) = &options.preset {
        lines.push(format!("preset     {preset}"));
    }
    if outputs.is_empty() {
        lines.push("output     none; --to URI or live.outputs adds one".to_owned());
    }
    let encode = EncodeSettings::from(live);
    for (number, output) in (1..).zip(&outputs) {
        let name = output.name.as_ref().map_or(String::new(), |name| format!("{name}  "));
        lines.push(format!("output {number:<3} {name}{}", output.shown()));
        for what in describe(output, &encode) {
            lines.push(format!("           {what}"));
        }
    }
    lines.push("all right; nothing was started".to_owned());
    Ok(lines)
}

/// Where the sound comes from, and whether it is there now.
fn sound(source: &AudioSource) -> String {
    let shown = source.shown();
    match capture::check(source) {
        Ok(()) => shown,
        Err(error) => {
            tracing::warn!(
                "live.audio.source: {shown}: {error}; the show would start with silence, and wait \
                 for it"
            );
            format!("{shown}, which is not there now")
        }
    }
}

/// Who makes the cycles.
fn makers(config: &Config) -> String {
    let servers = backends::servers(config).into_iter().map(|server| {
        let what = match (server.images, server.videos) {
            (true, true) => "pictures and clips",
            (true, false) => "pictures",
            _ => "clips",
        };
        format!("{} ({what})", server.name)
    });
    servers.collect::<Vec<_>>().join(", ")
}

/// What an output is and where it goes.
fn describe(output: &OutputSpec, show: &EncodeSettings) -> Vec<String> {
    let mut lines = match &output.target {
        Target::Null => vec!["encodes and counts; goes nowhere".to_owned()],
        Target::File { path, container } => {
            let container = match container {
                Container::Mp4 => "MP4",
                Container::Mkv => "Matroska",
                Container::Ts => "MPEG-TS",
            };
            vec![format!("writes {container} to {}", path.display())]
        }
        Target::Rtmp(rtmp) => publishing(rtmp),
        Target::Srt(srt) => {
            let place = match (srt.mode, &*srt.host) {
                (SrtMode::Caller, host) => format!("calls {host}, port {}", srt.port),
                (SrtMode::Listener, "") => format!("waits for callers on port {}", srt.port),
                (SrtMode::Listener, host) => {
                    format!("waits for callers at {host}, port {}", srt.port)
                }
            };
            let secured = match &srt.passphrase {
                Some(_) => format!("encrypted (AES-{})", srt.key_length * 8),
                None => "not encrypted".to_owned(),
            };
            vec![format!("{place}, latency {} ms, {secured}", srt.latency_ms)]
        }
        Target::Ndi { name } => vec![format!("the NDI source {name} in the local network")],
        Target::Display { monitor, size } => {
            let monitor = match monitor {
                Monitor::Default => "the default monitor".to_owned(),
                Monitor::Number(number) => format!("monitor {number}"),
                Monitor::Name(name) => format!("monitor {name}"),
            };
            vec![match size {
                Some((width, height)) => format!("a window of {width}x{height} on {monitor}"),
                None => format!("full-screen on {monitor}"),
            }]
        }
    };
    let own = encodings::wanted(show, output);
    if own != *show {
        let preset = own.preset.map_or(String::new(), |preset| format!(", preset {preset}"));
        lines.push(format!(
            "an encode of its own: {} kb/s, a key frame every {} s{preset}",
            own.bitrate_kbps, own.keyframe_seconds
        ));
    }
    lines
}

fn publishing(rtmp: &RtmpTarget) -> Vec<String> {
    let how = if rtmp.tls { "with TLS" } else { "without TLS" };
    let mut lines = vec![format!("publishes to {}, port {}, {how}", rtmp.host, rtmp.port)];
    if let Some(most) = rtmp.profile.limits().max_bitrate_kbps {
        lines.push(format!("profile {}: at most {most} kb/s", service(rtmp.profile)));
    }
    lines
}

fn service(profile: Profile) -> &'static str {
    match profile {
        Profile::Twitch => "twitch",
        Profile::Youtube => "youtube",
        Profile::Kick => "kick",
        Profile::Custom => "custom",
    }
}
