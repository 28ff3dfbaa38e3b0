//! What a user notices of an output: what its URI means, what is said of one that is wrong, and
//! that no secret is ever shown.

use super::*;
use proptest::prelude::*;

#[track_caller]
fn good(uri: &str) -> OutputSpec {
    OutputSpec::parse(uri).unwrap_or_else(|e| panic!("{uri}: {e}"))
}

#[track_caller]
fn rtmp_of(uri: &str) -> RtmpTarget {
    let Target::Rtmp(rtmp) = good(uri).target else { panic!("{uri}") };
    rtmp
}

#[track_caller]
fn srt_of(uri: &str) -> SrtTarget {
    let Target::Srt(srt) = good(uri).target else { panic!("{uri}") };
    srt
}

#[test]
fn every_kind_is_shown_without_its_secrets() {
    for (uri, kind, shown) in [
        ("null:", "null", "null:"),
        ("file:copy.mp4", "file", "file:copy.mp4"),
        ("file:///tmp/my 100%.MKV", "file", "file:/tmp/my 100%.MKV"),
        ("RTMP://live.twitch.tv/app/k3y", "rtmp", "rtmp://live.twitch.tv/app/***"),
        ("rtmp://h:1936/a/inst/k3y?x=1/2", "rtmp", "rtmp://h:1936/a/inst/***"),
        ("rtmps://h:443/a/k3y", "rtmp", "rtmps://h/a/***"),
        ("rtmps://me:pw@[::1]/a/k3y", "rtmp", "rtmps://***@[::1]/a/***"),
        ("srt://h:9000?passphrase=0123456789", "srt", "srt://h:9000?passphrase=***"),
        ("srt://h:9000#streamid=x", "srt", "srt://h:9000?streamid=***"),
        ("srt://0.0.0.0:9000", "srt", "srt://:9000"),
        ("srt://10.0.0.1:9000?mode=listener", "srt", "srt://10.0.0.1:9000?mode=listener"),
        ("ndi:Main Stage", "ndi", "ndi:Main Stage"),
        ("display:", "display", "display:"),
        ("display:2#size=960x540", "display", "display:2"),
        ("display:HDMI-1", "display", "display:HDMI-1"),
    ] {
        let spec = good(uri);
        assert_eq!((spec.kind(), spec.shown().as_str()), (kind, shown), "{uri}");
    }
}

#[test]
fn a_stream_key_may_have_any_sign() {
    for (uri, key) in [
        ("rtmp://h/app/live_1-2", "live_1-2"),
        ("rtmp://h/app/a%23b%2Fc%20d%C3%B6", "a#b/c dö"),
        ("rtmp://h/app/100%", "100%"),
        ("rtmp://h/app/50%zz%2", "50%zz%2"),
        ("rtmp://h/app/a@b:c", "a@b:c"),
        ("rtmp://h/app/k?bandwidthtest=true&t=a%2Fb", "k?bandwidthtest=true&t=a%2Fb"),
        ("rtmp://h/app#key=a%2Cb=c", "a,b=c"),
    ] {
        assert_eq!(rtmp_of(uri).key.reveal(), key, "{uri}");
    }
    let rtmp = rtmp_of("rtmp://me%40home:p%3Aw@h/app/inst/key");
    assert_eq!(rtmp.username.as_deref(), Some("me@home"));
    assert_eq!(rtmp.password.unwrap().reveal(), "p:w");
    assert_eq!((rtmp.application.as_str(), rtmp.key.reveal()), ("app/inst", "key"));
    assert_eq!((rtmp.port, rtmp.tls), (1935, false));
    assert_eq!(rtmp_of("rtmps://h/app/key").port, 443);
}

#[test]
fn a_service_is_known_by_its_host() {
    for (host, profile) in [
        ("live.twitch.tv", Profile::Twitch),
        ("fra05.contribute.live-video.net", Profile::Twitch),
        ("ingest.global-contribute.live-video.net", Profile::Twitch),
        ("A.RTMP.YouTube.com", Profile::Youtube),
        ("fa723fc1b171.global-contribute.live-video.net", Profile::Kick),
        ("nottwitch.tv", Profile::Custom),
        ("twitch.tv.example", Profile::Custom),
    ] {
        assert_eq!(rtmp_of(&format!("rtmp://{host}/app/key")).profile, profile, "{host}");
    }
    let uri = "rtmp://relay.local/app/key#profile=Twitch";
    assert_eq!(rtmp_of(uri).profile.limits().max_bitrate_kbps, Some(6000));
}

#[test]
fn srt_calls_a_host_and_waits_on_all_interfaces() {
    let plain = srt_of("srt://venue.example:9000/");
    assert_eq!((plain.mode, plain.latency_ms, plain.key_length), (SrtMode::Caller, 120, 16));
    for uri in ["srt://:9000", "srt://0.0.0.0:9000", "srt://:9000?mode=listener"] {
        let srt = srt_of(uri);
        assert_eq!((srt.mode, srt.host.as_str(), srt.port), (SrtMode::Listener, "", 9000));
    }
    assert_eq!(srt_of("srt://[::]:9000").mode, SrtMode::Listener);
    let srt = srt_of(
        "srt://h:1?latency=500&pbkeylen=32&streamid=%23!::r=a,m=publish#passphrase=p%26ss%2Cw0rd!!",
    );
    assert_eq!((srt.latency_ms, srt.key_length), (500, 32));
    assert_eq!(srt.stream_id.unwrap().reveal(), "#!::r=a,m=publish");
    assert_eq!(srt.passphrase.unwrap().reveal(), "p&ss,w0rd!!");
}

#[test]
fn options_stand_behind_a_hash() {
    let uri = "rtmp://h/app/key#name=main%20one&bitrate=4500,preset=VeryFast&adaptive=off";
    let spec = good(uri);
    assert_eq!(spec.name.as_deref(), Some("main one"));
    assert_eq!((spec.bitrate_kbps, spec.preset.as_deref()), (Some(4500), Some("veryfast")));
    assert!(!spec.adaptive && good("rtmp://h/app/key").adaptive);
    let Target::Display { monitor, size } = good("display:#monitor=2,size=960x540").target else {
        panic!()
    };
    assert_eq!((monitor, size), (Monitor::Number(2), Some((960, 540))));
}

#[test]
fn what_is_wrong_is_said_with_what_is_allowed() {
    for (uri, says) in [
        ("", "no scheme, allowed: rtmp://HOST"),
        ("live_s3cret", "no scheme, allowed: rtmp://HOST"),
        ("rmtp://h/app/s3cret", "unknown scheme \"rmtp\"; did you mean rtmp:?"),
        ("s3cret:x", "unknown scheme; allowed: rtmp://HOST"),
        ("rtmp:h/app/s3cret", "no // behind the scheme"),
        ("rtmp://", "no host"),
        ("rtmp:///app/s3cret", "no host"),
        ("rtmp://:1935/app/s3cret", "no host"),
        ("rtmp://h", "without an application"),
        ("rtmp://h//s3cret", "without a stream key"),
        ("rtmp://h/app", "without a stream key"),
        ("rtmp://h/app/", "without a stream key"),
        ("rtmp://h/app/?t=s3cret", "without a stream key"),
        ("rtmp://h:0/app/s3cret", "from 1 to 65535"),
        ("rtmp://h:65536/app/s3cret", "from 1 to 65535"),
        ("rtmp://h:+80/app/s3cret", "from 1 to 65535"),
        ("rtmp://me:s3cret/app/key", "from 1 to 65535"),
        ("rtmp://a b/app/s3cret", "a space in the address"),
        ("rtmp://a$b/app/s3cret", "a host that is none"),
        ("rtmp://::1/app/s3cret", "[an IPv6 address]"),
        ("rtmp://[::1/app/s3cret", "[an IPv6 address]"),
        ("rtmp://[::1]x/app/s3cret", "[an IPv6 address]"),
        ("rtmp://h/app/s3cret%0a", "an escaped control character"),
        ("rtmp://h/app/s3cret%ff", "no UTF-8"),
        ("rtmp://h/app/s3cret\n", ""),
        ("rtmp://h/app/s3\ncret", "a control character"),
        ("rtmp://h/app/k#bitrat=1", "option \"bitrat\", which is not known; did you mean bitrate?"),
        ("rtmp://h/app/ab#s3cret", "# & , that belongs to a key or a value is written %23"),
        ("rtmp://h/app/k#bitrate", "option bitrate: found no value"),
        (
            "rtmp://h/app/k#bitrate=199",
            "bitrate: found \"199\", allowed: a whole number from 200 to 50000",
        ),
        ("rtmp://h/app/k#bitrate=50001", "from 200 to 50000"),
        ("rtmp://h/app/k#preset=slow", "allowed: ultrafast, superfast, veryfast"),
        ("rtmp://h/app/k#profile=vimeo", "allowed: twitch, youtube, kick, custom"),
        ("rtmp://h/app/k#name=a&name=b", "option name: given twice"),
        ("rtmp://h/app/k#name=", "1 to 40 characters"),
        ("rtmp://h/app/k#size=960x540", "size: this is an option of display, found on rtmp"),
        ("ndi:Stage#bitrate=4500", "an option of null and file and rtmp and srt, found on ndi"),
        ("rtmp://h/app?t=s3cret#key=k", "put it behind the key"),
        ("srt://h", "no port"),
        ("srt://h:9000/live/s3cret", "a path behind the port"),
        ("srt://:9000?mode=caller", "no host to call"),
        ("srt://h:1?mode=rendezvous", "allowed: caller, listener"),
        ("srt://h:1?passphrase=s3cret", "passphrase: found 6 characters, allowed: 10 to 79"),
        ("srt://h:1?pbkeylen=20", "allowed: 16, 24, 32"),
        ("srt://h:1?latncy=200", "did you mean latency"),
        ("srt://h:1?streamid=", "stream_id: found 0 characters"),
        ("ndi:", "ndi:NAME"),
        ("display:0", "a number from 1"),
        ("display:2#monitor=3", "given twice"),
        ("display:#size=1x1", "WIDTHxHEIGHT"),
        ("file:", "no file"),
        ("file:take.avi", "\"take.avi\", allowed: names that end in .mp4, .mkv or .ts"),
        ("null:x", "null: alone"),
    ] {
        if says.is_empty() {
            good(uri);
            continue;
        }
        let said = OutputSpec::parse(uri).unwrap_err().to_string();
        assert!(said.contains(says) && !said.contains("s3cret"), "{uri}\n{said}");
    }
}

#[test]
fn one_file_may_be_written_in_several_ways() {
    let same = |a, b| good(a).same_file(&good(b));
    assert!(same("file:a.mp4", "file:./a.mp4") && same("file:/x/./a.ts", "file:///x/a.ts"));
    assert!(!same("file:a.mp4", "file:b.mp4") && !same("null:", "null:"));
}

/// Texts with a secret in them, in places where one belongs and where not.
const PLACES: &[&str] = &[
    "{}",
    "{}:",
    "{}://x",
    "rtmp:{}",
    "rtmp://{}",
    "rtmp://h/{}",
    "rtmp://h/{}/",
    "rtmp://h/app/{}",
    "rtmp://h/app/{}#bitrate=x",
    "rtmp://h/app/k?t={}",
    "rtmp://h:{}/app/k",
    "rtmp://u:{}@h/app/k",
    "rtmp://u:{}/app/k",
    "rtmp://h/app/k#{}",
    "rtmp://h/app/k#{}=1",
    "rtmp://h/app/k#bitrate=1,{}",
    "rtmps://h/app#key={}",
    "srt://{}",
    "srt://h:{}",
    "srt://h:1/{}",
    "srt://h:1?{}",
    "srt://h:1?passphrase={}",
    "srt://h:1?streamid={}&latency=x",
    "srt://:1#passphrase={},streamid={}",
    "null:{}",
];

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,80}") {
        let _ = OutputSpec::parse(&text);
    }

    #[test]
    fn no_uri_panics(text in "(rtmps?|srt|ndi|display|file|null):[a-z0-9:/@?#&=,%.\\[\\] ]{0,60}") {
        if let Ok(spec) = OutputSpec::parse(&text) {
            let _ = spec.shown();
        }
    }

    #[test]
    fn no_secret_is_ever_shown(
        place in prop::sample::select(PLACES),
        secret in "[A-Za-z0-9_%!+.-]{3,30}[0-9]{4}[A-Za-z0-9_%@:#?&,=-]{0,20}",
    ) {
        let uri = place.replace("{}", &secret);
        let said = match OutputSpec::parse(&uri) {
            Ok(spec) if place.contains("rtmp://h/{}") || place.ends_with("//{}") => {
                // This is what it means for a URI: host and application are no secrets.
                format!("{:?}", spec.bitrate_kbps)
            }
            Ok(spec) => format!("{} {spec:?}", spec.shown()),
            Err(error) => format!("{error} {error:?}"),
        };
        // Not even the first part of it.
        prop_assert!(!said.contains(&secret[..7.min(secret.len())]), "{said}");
    }

    #[test]
    fn an_escaped_key_comes_back_whole(key in "\\PC{1,40}") {
        let escaped: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
        let uri = format!("rtmp://h/app/{escaped}#name=x");
        let rtmp = rtmp_of(&uri);
        prop_assert_eq!(rtmp.key.reveal(), key.as_str());
    }
}
