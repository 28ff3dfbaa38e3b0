//! `vfaq status`, `clean` and `man`, as a user runs them: on projects that were made, found, damaged
//! and held.
#![cfg(all(feature = "gst", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use serde_json::{Value, json};
use support::show::{Stage, read_json, small, with};
use vfaq::archive::{Open, Project, Survey, fingerprint};

const NIGHT: &str = "w/qonstructions/night";

/// Exit code, standard output, standard error.
fn run(stage: &Stage, arguments: &[&str]) -> (i32, String, String) {
    let output = stage.vfaq(&["-w", "w"]).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn good(stage: &Stage, arguments: &[&str]) -> String {
    let (code, out, err) = run(stage, arguments);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out
}

fn refused(stage: &Stage, arguments: &[&str], with: i32) -> String {
    let (code, out, err) = run(stage, arguments);
    assert_eq!(code, with, "{arguments:?}: {out}{err}");
    err
}

fn status(stage: &Stage, name: &str) -> Value {
    let out = good(stage, &["status", "-n", name, "--json"]);
    serde_json::from_str::<Value>(&out).unwrap()["project"].clone()
}

/// A project `night` of so many real cycles.
fn made(cycles: &str) -> Stage {
    let stage = Stage::new(&small());
    good(&stage, &["run", "-n", "night", "-c", cycles, "-b", "mock", "--no-assemble", "-q"]);
    stage
}

/// The smallest file that is a whole MP4.
fn clip(mark: u8) -> Vec<u8> {
    vec![0, 0, 0, 9, b'm', b'o', b'o', b'v', mark]
}

fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Every file and link below a folder, links as such: its content, and when it was written.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            found.extend(snapshot(&path));
        } else {
            let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path, (content, about.modified().unwrap()));
        }
    }
    found
}

fn edit_state(project: &Path, change: impl FnOnce(&mut Value)) {
    let path = project.join("factory_state.json");
    let mut state = read_json(&path);
    change(&mut state);
    fs::write(path, state.to_string()).unwrap();
}

/// A hand-made project `night`: two cycles, one of them failed, a film, a log.
fn hand_made(stage: &Stage) -> PathBuf {
    let project = stage.path(NIGHT);
    let id = "briq_0000_0000aaaa";
    put(&project.join("videos/cycle0000_raw.mp4"), clip(0));
    put(&project.join("videos/cycle0000_video.mp4"), clip(1));
    put(&project.join(format!("images/{id}_image.png")), "png");
    let briq = json!({"briq_id": id, "cycle_index": 0, "status": "complete", "prompt": "tide"});
    put(&project.join(format!("briqs/{id}.json")), briq.to_string());
    let state = json!({"session_id": "0123456789ab", "current_cycle": 1, "completed_briqs": [id],
        "failed_cycles": [{"cycle_index": 1, "briq_id": "briq_0001_0000bbbb", "failed_at": "",
            "error": "no GPU"}]});
    put(&project.join("factory_state.json"), state.to_string());
    put(&project.join("final_output.mp4"), clip(2));
    put(&project.join("vfaq.log"), "log");
    put(&project.join(".lock"), "1");
    project
}

#[test]
fn a_run_is_told_with_its_films_and_what_to_do_next() {
    let stage = made("3");
    let project = stage.path(NIGHT);
    let before = snapshot(&project);
    let out = good(&stage, &["status", "-n", "night"]);
    assert!(out.contains("3 of 3 made") && out.contains("content  0:03"), "{out}");
    assert!(out.contains("6 videos") && out.contains("3 briqs") && out.contains(" free"), "{out}");
    assert!(!out.contains('\x1b'), "no colour in a pipe: {out:?}");
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("next     vfaq assemble -w w -n night"), "{last}");

    let told = status(&stage, "night");
    assert_eq!(told["cycles"]["made"], 3);
    assert_eq!(told["cycles"]["open"], 0);
    assert!((told["content_s"].as_f64().unwrap() - 3.0).abs() < 0.01, "{told}");
    assert!(told["generation_s"].as_f64().unwrap() > 0.0);
    // The looped video is another name of the raw clip here: its bytes count once.
    let sizes: u64 = before
        .iter()
        .filter(|(path, _)| {
            path.ends_with("videos") || { path.to_string_lossy().ends_with("_raw.mp4") }
        })
        .map(|(_, (content, _))| content.len() as u64)
        .sum();
    assert_eq!(told["disk"]["kinds"]["videos"], json!({"files": 6, "bytes": sizes}));
    assert_eq!(told["base_master"]["state"], "missing");
    assert_eq!(told["holder"], Value::Null);
    let list = good(&stage, &["status"]);
    assert!(list.contains("night") && list.contains("3/3"), "{list}");
    assert_eq!(snapshot(&project), before, "it is only looked at");

    // Films that are made of these cycles, and then of others.
    let print = fingerprint(Survey::of(&project, None).unwrap().session());
    let raw = project.join("videos/cycle0000_raw.mp4");
    for film in ["final_output.mp4", "final_60fps_1080p_002.mp4"] {
        fs::copy(&raw, project.join(film)).unwrap();
    }
    edit_state(&project, |state| {
        state["base_master"] = json!({"file": "final_output.mp4", "fingerprint": print});
        state["recordings"] = json!([
            {"file": "final_60fps_1080p.mp4", "kind": "live", "parts": ["final_60fps_1080p.mp4"],
                "frames": 90, "complete": true},
            {"file": "final_60fps_1080p_002.mp4", "kind": "assembled", "complete": true,
                "parts": ["final_60fps_1080p_002.mp4"], "of": print},
        ]);
    });
    let told = status(&stage, "night");
    assert_eq!(told["base_master"]["state"], "current");
    assert_eq!(told["deliverable"]["state"], "current");
    assert_eq!(told["deliverable"]["file"], "final_60fps_1080p_002.mp4");
    assert_eq!(told["recordings"][0]["kind"], "live");
    assert_eq!(told["next"]["command"], Value::Null);
    let copy = stage.path("w/qonstructions/copy");
    support::output_of(std::process::Command::new("cp").arg("-r").arg(&project).arg(&copy));
    assert_eq!(status(&stage, "copy")["base_master"]["state"], "current", "a copy too");

    fs::copy(&raw, project.join("videos/cycle0001_new.mp4")).unwrap();
    fs::rename(
        project.join("videos/cycle0001_new.mp4"),
        project.join("videos/cycle0001_video.mp4"),
    )
    .unwrap();
    let told = status(&stage, "night");
    assert_eq!(told["base_master"]["state"], "outdated");
    assert_eq!(told["next"]["command"], "vfaq assemble -w w -n night");

    edit_state(&project, |state| {
        state["total_cycles_requested"] = json!(9);
        state["failed_cycles"] = json!([{"cycle_index": 4, "briq_id": "b", "failed_at": "",
            "error": "CUDA out of \u{1b}[31m memory\nat line 7"}]);
    });
    let out = good(&stage, &["status", "-n", "night"]);
    assert!(out.contains("3 of 9 made  1 failed  5 open"), "{out}");
    assert!(out.contains("cycle 4: CUDA out of  [31m memory at line 7"), "{out:?}");
    assert!(out.lines().last().unwrap().contains("vfaq run -w w -n night --retry-failed"), "{out}");
}

#[test]
fn the_contact_sheet_shows_every_cycle() {
    let token = "r8_S3cretT0kenOfMine";
    let stage = made("3");
    stage.settings(&with(small(), json!({"backend": {"api_token": token}})));
    let project = stage.path(NIGHT);
    edit_state(&project, |state| {
        state["failed_cycles"] = json!([{"cycle_index": 3, "briq_id": "b", "failed_at": "",
            "error": format!("</p><script>alert(1)</script> token {token} refused")}]);
    });
    // One has no still: the first frame of its clip stands for it.
    for (path, _) in snapshot(&project.join("images")) {
        if path.to_string_lossy().contains("briq_0001_") {
            fs::remove_file(path).unwrap();
        }
    }
    let out = good(&stage, &["status", "-n", "night", "--html"]);
    assert!(out.contains("contact_sheet.html") && !out.contains(token), "{out}");
    let page = fs::read_to_string(project.join("contact_sheet.html")).unwrap();
    assert_eq!(page.matches("<article").count(), 4);
    assert_eq!(page.matches("<article class=\"failed\"").count(), 1);
    assert!(!page.contains("<script>alert") && !page.contains(token));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; token *** refused"));
    assert!(page.contains("Bright golden clouds") && page.contains("<dd>mock</dd>"));
    assert!(!page.contains("{{") && !page.contains("://"), "it stands alone");
    let pictures: Vec<&str> = page.split("data:image/jpeg;base64,").skip(1).collect();
    assert_eq!(pictures.len(), 3);
    for picture in pictures {
        let data = picture.split('"').next().unwrap();
        let jpeg = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        let picture = image::load_from_memory(&jpeg).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (256, 144));
        let brightest = picture.pixels().flat_map(|p| p.0).max().unwrap();
        assert!(brightest > 100, "something is to be seen: {brightest}");
    }
    let links = |page: &str| -> Vec<String> {
        let links = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        links.map(str::to_owned).collect()
    };
    assert_eq!(links(&page).len(), 3 * 3 + 2);
    for link in links(&page) {
        assert!(project.join(&link).is_file(), "{link}");
    }

    fs::create_dir(stage.path("pages")).unwrap();
    good(&stage, &["status", "-n", "night", "--html", "pages/night.html"]);
    let page = fs::read_to_string(stage.path("pages/night.html")).unwrap();
    for link in links(&page) {
        assert!(stage.path("pages").join(&link).is_file(), "{link}");
    }
    let error = refused(&stage, &["status", "--html"], 64);
    assert!(error.contains("-n"), "{error}");
}

#[test]
fn a_project_of_the_predecessor_is_told_as_such() {
    let stage = Stage::new(&small());
    let old = stage.path("w/qonstructions/old");
    for cycle in 0..3 {
        put(&old.join(format!("images/cycle000{cycle}_raw.mp4")), clip(cycle));
    }
    put(&old.join("final_60fps_1080p.mp4"), clip(9));
    put(&old.join("final_output.mp4"), clip(8));
    let state = json!({"session_id": "0123456789ab", "failed_cycles": [3, {"cycle": 4}],
        "cycle_video_paths": null, "total_generation_time": 12});
    put(&old.join("factory_state.json"), state.to_string());
    let before = snapshot(&old);
    let told = status(&stage, "old");
    assert_eq!(told["cycles"]["made"], 3);
    assert_eq!(told["cycles"]["requested"], Value::Null);
    assert_eq!(told["failures"][1], json!({"cycle": 4, "reason": "its reason was not kept"}));
    assert_eq!(told["base_master"]["state"], "unknown");
    assert_eq!(told["deliverable"]["state"], "unknown");
    assert_eq!(told["recordings"], json!([]));
    let out = good(&stage, &["status", "-n", "old"]);
    assert!(out.contains("the predecessor's"), "{out}");
    assert_eq!(snapshot(&old), before);

    // Without any state, and none of the settings either.
    fs::remove_file(old.join("factory_state.json")).unwrap();
    fs::remove_file(stage.path("w/config.yaml")).unwrap();
    assert_eq!(status(&stage, "old")["cycles"]["made"], 3);
    let error = refused(&stage, &["status", "-n", "nobody"], 64);
    assert!(error.contains("nobody"), "{error}");
    let error = refused(&stage, &["status", "-n", "../old"], 64);
    assert!(error.contains("project name"), "{error}");
    assert!(!stage.path("w/qonstructions/nobody").exists());
}

#[test]
fn damage_is_told_and_hides_nothing_else() {
    let stage = Stage::new(&small());
    assert!(good(&stage, &["status"]).contains("no project yet"));
    let project = hand_made(&stage);
    put(&project.join("factory_state.json"), "{\"session_id\": ");
    put(&project.join("videos/cycle0002_raw.mp4"), &clip(0)[..5]);
    put(&project.join("briqs/briq_0002_0000cccc.json"), "{");
    let before = snapshot(&project);
    let told = status(&stage, "night");
    assert_eq!(told["cycles"]["made"], 1);
    assert_eq!(told["cycles"]["lost"], 1);
    assert_eq!(told["damaged"][0]["file"], "videos/cycle0002_raw.mp4");
    assert_eq!(told["damaged"][0]["what"], "is cut off");
    let faults = told["faults"].to_string();
    assert!(faults.contains("factory_state.json") && faults.contains("briq_0002"), "{faults}");
    assert_eq!(told["next"]["command"], "vfaq clean -w w -n night");
    good(&stage, &["status", "-n", "night", "--html", "page.html"]);
    assert_eq!(snapshot(&project), before);

    // What it says helps.
    good(&stage, &["clean", "-n", "night"]);
    assert_eq!(
        fs::read_to_string(project.join("factory_state_001.json")).unwrap(),
        "{\"session_id\": "
    );
    let told = status(&stage, "night");
    assert_eq!((&told["cycles"]["made"], &told["cycles"]["earlier"]), (&json!(0), &json!(1)));
    assert_eq!(told["next"]["command"], "vfaq run -w w -n night");
    let list: Value = serde_json::from_str(&good(&stage, &["status", "--all", "--json"])).unwrap();
    assert_eq!(list["projects"][0]["name"], "night");
    assert_eq!(list["project"], Value::Null);
}

#[test]
fn a_cleaned_project_begins_anew_above_all_that_is_there() {
    let stage = made("2");
    let project = stage.path(NIGHT);
    put(&project.join("videos/.vfaq-half.mp4"), "half");
    put(&project.join(".finalizing/work/part.mp4"), "part");
    put(&project.join("notes.md"), "mine");
    let kept = |project: &Path| {
        let mut all = snapshot(project);
        all.retain(|path, _| {
            let name = path.file_name().unwrap().to_string_lossy();
            !name.starts_with(".vfaq-")
                && !name.starts_with("factory_state")
                && name != ".lock"
                && !path.starts_with(project.join(".finalizing"))
        });
        all
    };
    let state = fs::read(project.join("factory_state.json")).unwrap();
    let before = snapshot(&project);
    let out = good(&stage, &["clean", "-n", "night", "--dry-run"]);
    assert!(out.contains("2 leftovers") && out.contains("aside"), "{out}");
    assert_eq!(snapshot(&project), before);

    let made = kept(&project);
    let out = good(&stage, &["clean", "-n", "night"]);
    assert!(out.contains("factory_state_001.json") && out.contains("cycle 2"), "{out}");
    assert_eq!(kept(&project), made);
    assert_eq!(fs::read(project.join("factory_state_001.json")).unwrap(), state);
    assert!(!project.join(".finalizing").exists());
    assert!(!project.join("videos/.vfaq-half.mp4").exists());
    let out = good(&stage, &["clean", "-n", "night"]);
    assert!(out.contains("nothing to clean"), "{out}");
    assert!(!project.join("factory_state_002.json").exists());

    good(&stage, &["run", "-n", "night", "-c", "1", "-b", "mock", "--no-assemble", "-q"]);
    let told = status(&stage, "night");
    assert_eq!((&told["cycles"]["made"], &told["cycles"]["earlier"]), (&json!(1), &json!(2)));
    assert!(project.join("videos/cycle0002_raw.mp4").is_file());
    let briqs = snapshot(&project.join("briqs"));
    let briq = briqs.keys().find(|path| path.to_string_lossy().contains("briq_0002_")).unwrap();
    assert_eq!(read_json(briq)["mode"], "text", "it grew out of nothing");
}

#[test]
fn all_of_a_project_is_removed_and_nothing_else() {
    let stage = Stage::new(&small());
    let project = hand_made(&stage);
    let outside = stage.path("outside");
    put(&outside.join("film.mp4"), clip(3));
    put(&outside.join("cycle0009_raw.mp4"), clip(4));
    put(&outside.join("briq_0000_0000aaaa_image.png"), "png");
    symlink(outside.join("film.mp4"), project.join("videos/cycle0005_raw.mp4")).unwrap();
    symlink(outside.join("film.mp4"), project.join("final_60fps_1080p.mp4")).unwrap();
    fs::create_dir_all(project.join(".finalizing")).unwrap();
    symlink(&outside, project.join(".finalizing/deep")).unwrap();
    fs::rename(project.join("images"), stage.path("images")).unwrap();
    symlink(&outside, project.join("images")).unwrap();
    put(&project.join("videos/best of.mp4"), clip(5));
    put(&project.join("notes/cycle0001_raw.mp4"), clip(6));
    let beyond = snapshot(&outside);
    let before = snapshot(&project);

    let out = good(&stage, &["clean", "-n", "night", "--all", "--dry-run"]);
    assert!(
        out.contains("2 videos") && out.contains("1 briq") && out.contains("1 master"),
        "{out}"
    );
    assert!(out.contains("videos/best of.mp4") && out.contains("images (a link)"), "{out}");
    let error = refused(&stage, &["clean", "-n", "night", "--all"], 64);
    assert!(error.contains("2 videos") && error.contains("--yes"), "{error}");
    refused(&stage, &["clean", "-n", "night", "--all", "--json"], 64);
    assert_eq!(snapshot(&project), before, "nothing is removed unasked");

    let out = good(&stage, &["clean", "-n", "night", "--all", "--yes", "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["removed"]["videos"]["files"], 2);
    assert_eq!(told["folder_removed"], false);
    assert_eq!(told["left"].as_array().unwrap().len(), 6, "{told}");
    let left: Vec<PathBuf> = snapshot(&project).into_keys().collect();
    let wanted = [
        ".finalizing/deep",
        "final_60fps_1080p.mp4",
        "images",
        "notes/cycle0001_raw.mp4",
        "videos/best of.mp4",
        "videos/cycle0005_raw.mp4",
    ];
    assert_eq!(left, wanted.map(|name| project.join(name)));
    assert_eq!(snapshot(&outside), beyond, "no link was followed");

    // A project that is a link itself.
    let project = hand_made(&stage);
    fs::rename(&project, stage.path("elsewhere")).unwrap();
    symlink(stage.path("elsewhere"), &project).unwrap();
    let error = refused(&stage, &["clean", "-n", "night", "--all", "--yes"], 64);
    assert!(error.contains("is a link"), "{error}");
    assert!(stage.path("elsewhere/videos/cycle0000_raw.mp4").is_file());
    // A folder that is no project.
    let error = refused(&stage, &["-o", "notes", "clean", "--all", "--yes"], 64);
    assert!(error.contains("no project"), "{error}");
    put(&stage.path("mine/letter.txt"), "x");
    let error = refused(&stage, &["-o", "mine", "clean", "--all", "--yes"], 64);
    assert!(error.contains("no project"), "{error}");
    assert_eq!(snapshot(&stage.path("mine")).len(), 1);
    good(&stage, &["-o", "elsewhere", "clean", "--all", "--yes"]);
    assert!(!stage.path("elsewhere/videos/cycle0000_raw.mp4").exists());
    assert!(stage.path("elsewhere/videos/best of.mp4").exists());
}

#[test]
fn of_shared_briqs_only_those_of_the_project_go() {
    let stage = Stage::new(&small());
    let project = hand_made(&stage);
    let shared = stage.path("shared");
    let elsewhere = json!({"paths": {"briqs_dir": shared.display().to_string()}});
    stage.settings(&with(small(), elsewhere));
    fs::rename(project.join("briqs"), &shared).unwrap();
    put(&shared.join("briq_0001_0000bbbb.json"), "{}");
    put(&shared.join("briq_0000_0000cccc.json"), "{}");
    put(&shared.join(".vfaq-x.tmp"), "another's");
    good(&stage, &["clean", "-n", "night", "--all", "--yes"]);
    assert!(!project.exists(), "nothing was left in it");
    let left: Vec<PathBuf> = snapshot(&shared).into_keys().collect();
    assert_eq!(left, [shared.join(".vfaq-x.tmp"), shared.join("briq_0000_0000cccc.json")]);
}

#[test]
fn a_project_that_is_held_is_left_alone() {
    let stage = Stage::new(&small());
    let project = hand_made(&stage);
    let open = || {
        Project::open(Open {
            folder: &project,
            briqs_dir: None,
            fresh: false,
            must_exist: true,
            config_text: "",
            who: "vfaq live",
            now: SystemTime::UNIX_EPOCH,
        })
    };
    let held = open().unwrap();
    let before = snapshot(&project);
    let holder = format!("vfaq live (process {})", std::process::id());
    let told = status(&stage, "night");
    assert_eq!(told["holder"], holder);
    let out = good(&stage, &["status", "-n", "night"]);
    assert!(out.lines().last().unwrap().contains(&holder), "{out}");
    for arguments in [&["--all", "--yes"][..], &["--all", "--dry-run"], &[]] {
        let arguments = [&["clean", "-n", "night"], arguments].concat();
        let error = refused(&stage, &arguments, 69);
        assert!(error.contains(&holder), "{error}");
    }
    assert_eq!(snapshot(&project), before);
    drop(held);
    good(&stage, &["clean", "-n", "night", "--all", "--yes"]);
    assert!(!project.exists());
}

#[test]
fn on_a_terminal_the_name_is_asked_for() {
    let stage = Stage::new(&small());
    let project = hand_made(&stage);
    for (said, gone) in [("nigth\n", false), ("\n", false), ("night\n", true)] {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let slave = File::from(terminal.slave);
        let mut command = stage.vfaq(&["-w", "w", "clean", "-n", "night", "--all"]);
        command.stdin(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap());
        command.stdout(slave.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        drop((slave, command));
        let mut screen = File::from(terminal.master);
        screen.write_all(said.as_bytes()).unwrap();
        let mut text = Vec::new();
        // When the program has ended, reading fails.
        let _ = screen.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        assert_eq!(child.wait().unwrap().success(), gone, "{text}");
        assert!(text.contains("Remove 2 videos") && text.contains("(night)"), "{text}");
        assert_eq!(project.exists(), !gone, "{text}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let stage = Stage::new(&small());
    good(&stage, &["man", "man1"]);
    for page in ["vfaq.1", "vfaq-run.1", "vfaq-status.1", "vfaq-clean.1", "vfaq-config-check.1"] {
        let text = fs::read_to_string(stage.path("man1").join(page)).unwrap();
        assert!(
            text.contains(".TH") && text.contains("Examples") || page.contains("config"),
            "{page}"
        );
    }
    assert!(!stage.path("man1/vfaq-window.1").exists(), "it is no command for users");
    assert!(good(&stage, &["man"]).contains(".TH vfaq 1"));
}
