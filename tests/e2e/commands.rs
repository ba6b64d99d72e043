//! Commands in a terminal: what goes wrong is said in one line, with a fix and
//! the right exit code.

use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use heliograph_domain::{ProviderId, Timestamp};
use heliograph_store::{SecondFactor, Store, StoreUrl};

use crate::binary::{connect, free_address, run, run_with_input, spawn};

/// Checks an exit code and that standard error is one line that names things.
fn check(output: &Output, code: i32, named: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    for name in named {
        assert!(said.contains(name), "{name:?} in {said}");
    }
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let output = run(&["ingest", "--provider", "sunrise", "--listen", "127.0.0.1:0", "--store", "sqlite:file"], folder.path());
    check(&output, 1, &["file", "--store"]);
}

#[test]
fn a_port_in_use_is_named_with_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for role in ["ingest", "admin"] {
        let output = run(&[role, "--provider", "sunrise", "--listen", &address.to_string()], folder.path());
        check(&output, 1, &[&address.port().to_string(), "--listen", &format!("process {}", std::process::id())]);
    }
}

#[test]
fn bad_settings_are_all_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("heliograph.toml"), "[ingest]\nconnections = \"lots\"\ndepth = -1\nspeed = 3\n").unwrap();
    let output = run(&["ingest", "--provider", "sunrise", "--store", "mongodb:x"], folder.path());
    check(&output, 64, &["ingest.connections", "ingest.depth", "ingest.speed", "store.url", "sqlite:DIR"]);
    let output = run(&["mailer", "--provider", "sunrise", "--once"], tempfile::tempdir().unwrap().path());
    check(&output, 64, &["mail.host", "mail.folder"]);
}

#[test]
fn usage_errors_exit_64_and_help_exits_0() {
    let folder = tempfile::tempdir().unwrap();
    for usage in [&["ingest"][..], &["ingest", "--provider", "No Good"], &["launch"], &[]] {
        assert_eq!(run(usage, folder.path()).status.code(), Some(64), "{usage:?}");
    }
    for help in [&["--help"][..], &["--version"], &["ingest", "--help"]] {
        assert_eq!(run(help, folder.path()).status.code(), Some(0), "{help:?}");
    }
}

#[test]
fn config_shows_where_every_setting_comes_from_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("heliograph.toml"), "[mail]\npassword = \"hush-hush\"\n").unwrap();
    let output = run(&["config"], folder.path());
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("mail.password") && shown.contains("heliograph.toml"), "{shown}");
    assert!(!shown.contains("hush-hush"));
}

#[test]
fn an_owner_is_added_by_password_or_by_link() {
    let folder = tempfile::tempdir().unwrap();
    let add = ["user", "add", "--provider", "sunrise", "--role", "owner", "--email"];
    let with_password = [&add[..], &["o@sunrise.example", "--password-stdin"]].concat();
    assert!(run_with_input(&with_password, folder.path(), "a long enough phrase\n").contains("o@sunrise.example"));
    let piped = run_with_input(&[&add[..], &["q@sunrise.example"]].concat(), folder.path(), "another long phrase\n");
    assert!(!piped.contains("/welcome/"), "{piped}");
    let link = run_with_input(&[&add[..], &["p@sunrise.example"]].concat(), folder.path(), "");
    assert!(link.contains("/welcome/"), "{link}");
    let again = run(&[&add[..], &["p@sunrise.example"]].concat(), folder.path());
    check(&again, 1, &["p@sunrise.example"]);
    let listed = run_with_input(&["user", "list", "--provider", "sunrise"], folder.path(), "");
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

#[tokio::test]
async fn who_is_locked_out_is_let_in_again_from_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let whom = ["--provider", "sunrise", "--store", "sqlite:.", "--email", "o@sunrise.example"];
    let add = [&["user", "add", "--role", "owner", "--password-stdin"], &whom[..]].concat();
    run_with_input(&add, folder.path(), "a long enough phrase\n");
    let link = run(&[&["user", "link"], &whom[..]].concat(), folder.path());
    assert!(String::from_utf8_lossy(&link.stdout).contains("valid for 24 hours: /welcome/"), "{link:?}");
    let off = [&["user", "second-step-off"], &whom[..]].concat();
    check(&run(&off, folder.path()), 1, &["o@sunrise.example is not asked for a second step"]);

    let store = Store::open(StoreUrl::sqlite(folder.path())).unwrap();
    let store = store.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let user = store.user_list().await.unwrap().remove(0).id;
    let factor = SecondFactor::new(user, "GEZDGNBVGY3TQOJQ".to_owned(), Timestamp::clamped(0), 0, &[]);
    store.second_factor_save(factor).await.unwrap();
    let list = run(&["user", "list", "--provider", "sunrise", "--store", "sqlite:."], folder.path());
    assert!(String::from_utf8_lossy(&list.stdout).contains("(second step)"), "{list:?}");
    let done = run(&off, folder.path());
    assert!(done.status.success(), "{done:?}");
    assert_eq!(store.second_factor_fetch(user).await.unwrap(), None);
    assert_eq!(store.audit_list(0, 100).await.unwrap().pop().unwrap().action, "user.second-factor.remove");
    store.close().await;
    let nobody = ["user", "link", "--provider", "sunrise", "--store", "sqlite:.", "--email", "nobody@sunrise.example"];
    check(&run(&nobody, folder.path()), 1, &["nobody signs in to sunrise with nobody@sunrise.example"]);
}

#[test]
fn decode_shows_what_a_document_yields() {
    let folder = tempfile::tempdir().unwrap();
    let push = "<push gateway=\"g\"><sensor id=\"s\"><reading metric=\"power\" unit=\"kW\" time=\"2026-06-15T12:00:00Z\">1.5</reading>\
                <reading metric=\"power\" unit=\"kW\" time=\"2026-06-15T12:01:00Z\">NaN</reading></sensor></push>";
    std::fs::write(folder.path().join("push.xml"), push).unwrap();
    let output = run(&["decode", "push.xml"], folder.path());
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["value"], 1.5);
    assert_eq!(shown["unit"], "kW");
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad-value"));
    std::fs::write(folder.path().join("broken.xml"), "<push>").unwrap();
    assert_eq!(run(&["decode", "broken.xml"], folder.path()).status.code(), Some(1));
}

#[test]
fn what_decode_is_told_beside_a_document_holds_where_that_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let documents = [
        ("senml.xml", "<sensml xmlns='urn:ietf:params:xml:ns:senml'><senml n='a' u='W' v='1'/></sensml>"),
        (
            "push.xml",
            "<push gateway='own'><sensor id='s'><reading metric='m' time='2026-06-15 12:00:00'>1</reading></sensor></push>",
        ),
        (
            "zoned.xml",
            "<push gateway='own'><sensor id='s'><reading metric='m' time='2026-06-15T12:00:00Z'>1</reading></sensor></push>",
        ),
    ];
    for (name, text) in documents {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let received = "--received=2026-11-20T10:00:00Z";
    // What is given, the document, and gateway and time of its reading.
    let cases: [(&[&str], &str, Option<&str>, &str); 9] = [
        (&[received], "senml.xml", None, "2026-11-20T10:00:00Z"),
        (&[received, "--gateway=roof"], "senml.xml", Some("roof"), "2026-11-20T10:00:00Z"),
        (&["--received=2026-11-20T10:00:00+02:00"], "senml.xml", None, "2026-11-20T08:00:00Z"),
        (&[received, "--dialect=senml", "--zone=Asia/Tokyo"], "senml.xml", None, "2026-11-20T10:00:00Z"),
        (&[received], "push.xml", Some("own"), "2026-06-15T12:00:00Z"),
        (&[received, "--zone=Europe/Madrid"], "push.xml", Some("own"), "2026-06-15T10:00:00Z"),
        (&["--zone=Asia/Kolkata", "--dialect=native"], "push.xml", Some("own"), "2026-06-15T06:30:00Z"),
        (&[received, "--gateway=roof"], "push.xml", Some("own"), "2026-06-15T12:00:00Z"),
        (&[received, "--zone=Asia/Tokyo"], "zoned.xml", Some("own"), "2026-06-15T12:00:00Z"),
    ];
    for (options, document, gateway, time) in cases {
        let output = run(&[&["decode"], options, &[document]].concat(), folder.path());
        assert!(output.status.success() && output.stderr.is_empty(), "{options:?} {document}: {output:?}");
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((shown["gateway"].as_str(), shown["ts"].as_str()), (gateway, Some(time)), "{options:?} {document}");
    }
    // Another dialect than it should be is refused whole, and what cannot be read is no usage.
    let refused: [(&[&str], i32, &str); 6] = [
        (&["--dialect=sunspec", "push.xml"], 1, "push.xml: unsupported: the document is native, not sunspec"),
        (&["--dialect=native", "senml.xml"], 1, "senml.xml: unsupported: the document is senml, not native"),
        (&["--dialect=morse", "push.xml"], 64, "it is none of native, senml"),
        (&["--zone=Moon/Base", "push.xml"], 64, "Moon/Base"),
        (&["--received=yesterday", "push.xml"], 64, "yesterday"),
        (&["--gateway=", "push.xml"], 64, "--gateway"),
    ];
    for (arguments, code, said) in refused {
        let output = run(&[&["decode"], arguments].concat(), folder.path());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{arguments:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_mapping_that_is_given_reads_instead_of_those_of_the_product() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("display.xml", "<msg><ch1><watts>00345</watts></ch1></msg>");
    let own = "name = 'own'\nroot = 'msg'\n[[reading]]\neach = '/msg/ch1'\nsensor = 's'\nmetric = 'own'\nvalue = '{watts}'\n";
    file("own.toml", own);
    file("other.toml", &own.replace("msg", "station"));
    let metric = |arguments: &[&str]| {
        let output = run(&[&["decode"][..], arguments, &["display.xml"]].concat(), folder.path());
        let shown = serde_json::from_slice::<serde_json::Value>(&output.stdout).ok();
        shown.map(|shown| shown["metric"].clone()).ok_or(String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(metric(&[]).unwrap(), "ch1.power");
    assert_eq!(metric(&["--mapping", "own.toml"]).unwrap(), "own");
    let refused = metric(&["--mapping", "other.toml"]).unwrap_err();
    assert!(refused.contains("unsupported: the mapping is for another root element"), "{refused}");
}

#[test]
fn roles_answer_health_checks_and_count_what_they_do() {
    let folder = tempfile::tempdir().unwrap();
    let (listen, ops) = (free_address().to_string(), free_address());
    let _ingest = spawn(&["ingest", "--provider", "sunrise", "--listen", &listen, "--ops", &ops.to_string()], folder.path());
    drop(connect(ops, Duration::from_secs(20)));
    for arguments in [&["healthcheck", &ops.to_string()][..], &["healthcheck", &ops.to_string(), "--ready"]] {
        let output = run(arguments, folder.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut stream = connect(ops, Duration::from_secs(5));
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let metrics = std::io::read_to_string(stream).unwrap();
    assert!(metrics.starts_with("HTTP/1.0 200") || metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    let nobody = free_address().to_string();
    check(&run(&["healthcheck", &nobody], folder.path()), 1, &[&nobody]);
}
