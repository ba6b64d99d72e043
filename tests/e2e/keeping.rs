//! Archives, retention and a customer's data, by the commands of an operator.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use heliograph_domain::{
    Alert, AlertCause, AlertId, AlertKey, AlertKind, ApiScope, ApiTokenId, ArrayId, Binding, Commission, CommissionId,
    CorrectionId, CorrectionKind, Customer, CustomerId, GatewayId, InstalledArray, KeyDigest, Location, LocationId, MetricName,
    Point, PointId, QuarantineId, RefusalCode, SensorId, SensorRole, SeriesKey, TimeWindow, Timestamp, Unit, Zone,
};
use heliograph_store::{AlertChange, ApiToken, CorrectionNew, QuarantineNew, SecondFactor, SessionRow};
use uuid::Uuid;

use crate::binary::{HELIOGRAPH, Process, run, run_with_input};
use crate::sample::{document, open};

const DAY_MS: i64 = 86_400_000;

/// Ten days up to now, a reading an hour.
async fn fill(folder: &Path, gateway: &str) -> Timestamp {
    let store = open(folder, "sunrise");
    let now: Timestamp = jiff::Timestamp::now().into();
    let begin = now.plus_millis(-10 * DAY_MS);
    let values = (0..240).map(|hour| (begin.plus_millis(hour * 3_600_000), hour as f64));
    let document = document(gateway, ("s", "power", "W"), now, values);
    store.document_write(document).await.unwrap();
    store.close().await;
    begin
}

#[tokio::test]
async fn an_archive_moves_a_provider_to_another_name_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "gw-1").await;
    let created = run_with_input(&["archive", "create", "--provider", "sunrise", "a.archive"], folder.path(), "");
    assert!(created.contains("240 readings") && created.contains("1 audit"), "{created}");
    let again = run(&["archive", "create", "--provider", "sunrise", "a.archive"], folder.path());
    assert_eq!(again.status.code(), Some(1));
    run_with_input(&["archive", "verify", "a.archive", "--provider", "sunrise"], folder.path(), "");

    let whole = std::fs::read(folder.path().join("a.archive")).unwrap();
    std::fs::write(folder.path().join("cut.archive"), &whole[..whole.len() / 2]).unwrap();
    for (arguments, named) in [
        (&["archive", "restore", "--provider", "sunrise", "--as", "dawn", "cut.archive"][..], "it is broken"),
        (&["archive", "restore", "--provider", "dawn", "a.archive"], "--provider sunrise --as dawn"),
        (&["archive", "restore", "--provider", "sunrise", "a.archive"], "has data already"),
        (&["archive", "verify", "data/sunrise.db"], "not an archive"),
    ] {
        let output = run(arguments, folder.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(named), "{arguments:?}: {said}");
        assert!(!folder.path().join("data/dawn.db").exists(), "{arguments:?} has made a store");
    }
    run_with_input(&["archive", "restore", "--provider", "sunrise", "--as", "dawn", "a.archive"], folder.path(), "");
    let readings =
        |provider| run_with_input(&["readings", "--provider", provider, "--gateway", "gw-1", "--csv"], folder.path(), "");
    assert_eq!(readings("dawn"), readings("sunrise"));
    assert_eq!(readings("dawn").lines().count(), 241);
    run_with_input(&["audit", "verify", "--provider", "dawn"], folder.path(), "");
}

#[tokio::test]
async fn an_archive_of_a_tampered_trail_is_written_and_comes_in_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "gw-1").await;
    for name in ["o", "p", "q"] {
        let address = format!("{name}@sunrise.example");
        let add = ["user", "add", "--provider", "sunrise", "--role", "owner", "--email", &address, "--password-stdin"];
        run_with_input(&add, folder.path(), "a long enough phrase\n");
    }
    let file = rusqlite::Connection::open(folder.path().join("data/sunrise.db")).unwrap();
    file.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 2", []).unwrap();
    drop(file);
    let fault = "entry 2 is not what was written there";
    let told = |arguments: &[&str], code: i32, words: &[&str]| {
        let output = run(arguments, folder.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
    };
    let flag = "--despite-audit-fault";
    told(&["archive", "create", "--provider", "sunrise", "a.archive"], 3, &[fault, "is written", flag]);
    told(&["archive", "verify", "a.archive"], 3, &[fault, "is whole", flag]);
    let restore = ["archive", "restore", "--provider", "sunrise", "--as", "dawn", "a.archive"];
    told(&restore, 1, &[fault, flag]);
    assert!(!folder.path().join("data/dawn.db").exists());
    told(&[&restore[..], &[flag]].concat(), 0, &[fault]);
    told(&["audit", "verify", "--provider", "dawn"], 1, &[fault, "restored despite", "from there on it is as it was written"]);
    let readings = run_with_input(&["readings", "--provider", "dawn", "--gateway", "gw-1", "--csv"], folder.path(), "");
    assert_eq!(readings.lines().count(), 241);
}

#[tokio::test]
async fn what_is_due_is_rolled_up_by_hand_where_no_ingest_runs() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "gw-1").await;
    let count = || {
        let file = rusqlite::Connection::open(folder.path().join("data/sunrise.db")).unwrap();
        let query = "SELECT (SELECT count(*) FROM rollup), (SELECT count(*) FROM dirty)";
        file.query_row(query, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap()
    };
    let (rollups, marks) = count();
    assert!(rollups == 0 && marks > 0);
    let rollup = ["rollup", "--provider", "sunrise", "--once"];
    assert!(run_with_input(&rollup, folder.path(), "").contains("marks settled in"));
    let (rollups, marks) = count();
    assert!(rollups >= 240 && marks == 0, "{rollups} {marks}");
    assert_eq!(run_with_input(&rollup, folder.path(), ""), "nothing was due\n");
    assert_eq!(run(&rollup[..3], folder.path()).status.code(), Some(64));
}

#[tokio::test]
async fn lines_off_a_terminal_say_how_far_an_archive_is() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "gw-1").await;
    let said = |arguments: &[&str]| {
        let output = run(&[&["archive"], arguments].concat(), folder.path());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let created = said(&["create", "--provider", "sunrise", "a.archive"]);
    assert!(created.starts_with("writing a.archive: ") && created.contains(" rows, done in "), "{created}");
    let archive = std::fs::read(folder.path().join("a.archive")).unwrap();
    let whole = format!("100 % of {} bytes, ", archive.len());
    let checked = said(&["verify", "a.archive"]);
    assert!(checked.starts_with(&format!("checking a.archive: {whole}")) && checked.lines().count() == 1, "{checked}");
    let restored = said(&["restore", "--provider", "sunrise", "--as", "dawn", "a.archive"]);
    let lines: Vec<&str> = restored.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("checking") && lines[1].starts_with("restoring dawn: 100 % of"),
        "{restored}"
    );

    // Of an archive that comes slowly, before its end.
    let mut child = Command::new(HELIOGRAPH)
        .args(["archive", "verify", "/dev/stdin"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map(Process)
        .unwrap();
    let (mut input, mut errors) = (child.0.stdin.take().unwrap(), BufReader::new(child.0.stderr.take().unwrap()));
    let half = archive.len() / 2;
    input.write_all(&archive[..half]).unwrap();
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert!(line.starts_with(&format!("checking /dev/stdin: {half} bytes, ")), "{line}");
    input.write_all(&archive[half..]).unwrap();
    drop(input);
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();
    assert!(child.0.wait().unwrap().success() && rest.contains("done in"), "{rest}");
}

#[tokio::test]
async fn retention_is_shown_before_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "gw-1").await;
    let retention = |more: &[&str]| {
        let arguments = [&["store", "retention", "--provider", "sunrise"], more].concat();
        run_with_input(&arguments, folder.path(), "")
    };
    assert!(retention(&[]).contains("for ever"));
    let shown = retention(&["--days", "4"]);
    assert!(shown.contains("120 readings") && shown.contains("stay as they are now"), "{shown}");
    assert!(retention(&["--days", "4", "--run"]).starts_with("120 readings before"));
    assert!(retention(&["--days", "4"]).contains("deletes 0 readings"));
    let trail = run_with_input(&["audit", "list", "--provider", "sunrise"], folder.path(), "");
    assert!(trail.contains("operator") && trail.contains("retention.run"), "{trail}");
}

#[tokio::test]
async fn a_customer_gets_what_is_theirs_and_then_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let begin = fill(folder.path(), "gw/1").await;
    let customer = Customer { id: CustomerId::new(Uuid::from_u128(1)), name: "Frieda Niemand".to_owned(), email: None };
    let gateway = GatewayId::parse("gw/1").unwrap();
    let (from, until) = (begin.plus_millis(DAY_MS), begin.plus_millis(2 * DAY_MS));
    let commission = Commission {
        id: CommissionId::new(Uuid::from_u128(2)),
        customer: customer.id,
        gateway,
        window: TimeWindow::between(from, until),
    };
    let store = open(folder.path(), "sunrise");
    store.customer_save(customer.clone()).await.unwrap();
    store.commission_create(commission.clone()).await.unwrap();
    store.close().await;
    let id = customer.id.to_string();
    let add = ["user", "add", "--provider", "sunrise", "--role", "customer", "--email", "frieda@niemand.example"];
    let add = [&add[..], &["--customer", &id, "--password-stdin"]].concat();
    run_with_input(&add, folder.path(), "a long enough phrase\n");

    let troubled = Troubles { before: begin, within: from.plus_millis(3_600_000) };
    troubled.make(folder.path()).await;
    let which = ["--provider", "sunrise", "--customer", &id];
    run_with_input(&[&["customer", "export"], &which[..], &["--out", "frieda"]].concat(), folder.path(), "");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("frieda").join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("customer.json")).unwrap();
    assert_eq!(
        (&json["customer"]["name"], &json["people"][0]["email"]),
        (&"Frieda Niemand".into(), &"frieda@niemand.example".into())
    );
    assert!(!read("customer.json").contains("argon2"), "no hash of a password");
    assert_eq!(read(&format!("readings/{}.csv", commission.id)).lines().count(), 25, "its own day and no other");
    assert_eq!(read(&format!("rollups/{}.csv", commission.id)).lines().count(), 25);
    assert_eq!((&json["sensors"][0]["id"], &json["sensors"][0]["gateway"]), (&"s".into(), &"gw/1".into()));
    troubled.check(&json, &folder.path().join("frieda"));

    let unsure = run_with_input(&[&["customer", "erase"], &which[..]].concat(), folder.path(), "");
    assert!(unsure.contains("--yes"), "{unsure}");
    run_with_input(&[&["customer", "erase"], &which[..], &["--yes"]].concat(), folder.path(), "");
    let people = run_with_input(&["user", "list", "--provider", "sunrise"], folder.path(), "");
    assert!(!people.contains("frieda"), "{people}");
    run_with_input(&["audit", "verify", "--provider", "sunrise"], folder.path(), "");
    let database = std::fs::read(folder.path().join("data/sunrise.db")).unwrap();
    assert!(!database.windows(14).any(|bytes| bytes == b"Frieda Niemand"));
    let unknown =
        run(&["customer", "export", "--provider", "sunrise", "--customer", &Uuid::from_u128(9).to_string()], folder.path());
    assert_eq!(unknown.status.code(), Some(1));
}

/// What Frieda has to be told beside readings: where she is signed in, her token, that a
/// second step is set, an alert and a document that was refused, each once within her
/// window and once before it.
struct Troubles {
    before: Timestamp,
    within: Timestamp,
}

impl Troubles {
    async fn make(&self, folder: &Path) {
        let store = open(folder, "sunrise");
        let frieda = store.user_list().await.unwrap().remove(0);
        let now: Timestamp = jiff::Timestamp::now().into();
        let later = now.plus_millis(DAY_MS);
        // It ends sessions and tokens that are there.
        let factor = SecondFactor::new(frieda.id, "the secret of it".to_owned(), now, 0, &[]);
        store.second_factor_save(factor).await.unwrap();
        let data = [&now.as_millis().to_be_bytes()[..], b"203.0.113.7\nA browser of hers"].concat();
        store.session_save(SessionRow { digest: KeyDigest([1; 32]), user: Some(frieda.id), data, expires: later }).await.unwrap();
        let (of, times) = ((ApiTokenId::new(Uuid::from_u128(1)), frieda.id), (now, later));
        let token = ApiToken::new(of, "Night job".to_owned(), vec![ApiScope::Read], KeyDigest([0xd1; 32]), times);
        store.api_token_create(token, frieda.password_hash.clone()).await.unwrap();

        let key = AlertKey::gateway(AlertKind::Clock, GatewayId::parse("gw/1").unwrap());
        let cause = AlertCause::Clock { size: "1 h ahead".to_owned() };
        for (number, at) in [(1, self.before), (2, self.within)] {
            let alert = Alert::raise(AlertId::new(Uuid::from_u128(number)), key.clone(), cause.clone(), at, at);
            let over = AlertChange::End(alert.id, at.plus_millis(60_000));
            store.alert_change(vec![AlertChange::Raise(Box::new(alert))], None, at).await.unwrap();
            store.alert_change(vec![over], None, at.plus_millis(60_000)).await.unwrap();
            for (stranger, trusted) in [(0, true), (10, false)] {
                let refused = QuarantineNew {
                    id: QuarantineId::new(Uuid::from_u128(number + stranger)),
                    received: at,
                    gateway: Some("gw/1".to_owned()),
                    address: "198.51.100.9:1".to_owned(),
                    code: RefusalCode::Malformed,
                    reason: "line 1: no XML".to_owned(),
                    raw: format!("refused {number}").into_bytes(),
                    trusted,
                };
                store.quarantine_add(refused).await.unwrap();
            }
        }
        store.close().await;
    }

    fn check(&self, json: &serde_json::Value, folder: &Path) {
        let person = &json["people"][0];
        let session = &person["sessions"][0];
        assert_eq!((&session["address"], &session["browser"]), (&"203.0.113.7".into(), &"A browser of hers".into()), "{person}");
        let token = &person["api_tokens"][0];
        assert_eq!((&token["name"], &token["scopes"]), (&"Night job".into(), &serde_json::json!([ApiScope::Read])), "{person}");
        assert!(person["second_step_since"].is_string(), "{person}");
        let all = std::fs::read_to_string(folder.join("customer.json")).unwrap();
        for proof in ["argon2", "d1d1d1d1", "the secret of it"] {
            assert!(!all.contains(proof), "{proof}");
        }
        let actions = json["audit"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap());
        let actions: Vec<&str> = actions.collect();
        for action in ["customer.save", "commission.create", "user.create", "api-token.create"] {
            assert!(actions.contains(&action), "{action} is not among {actions:?}");
        }
        let alerts = json["alerts"].as_array().unwrap();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!((&alerts[0]["kind"], &alerts[0]["raised"]), (&"clock".into(), &self.within.to_string().into()));
        let listed = std::fs::read_to_string(folder.join("quarantine.json")).unwrap();
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["code"]), (1, &"malformed".into()), "{listed}");
        let document = std::fs::read_to_string(folder.join(listed[0]["document"].as_str().unwrap())).unwrap();
        assert_eq!(document, "refused 2");
    }
}

#[tokio::test]
async fn figures_that_outlive_their_readings_come_out_within_what_the_customer_may_see() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "sunrise");
    let now: Timestamp = jiff::Timestamp::now().into();
    // A reading each ten minutes, for 30 days, from a whole day on.
    let begin = Timestamp::clamped((now.as_millis() / DAY_MS - 30) * DAY_MS);
    let values = (0..30 * 144).map(|step| (begin.plus_millis(step * 600_000), if step < 20 * 144 { 100.0 } else { 900.0 }));
    store.document_write(document("gw-1", ("s", "power", "W"), now, values)).await.unwrap();
    let (roof, array) = (LocationId::new(Uuid::from_u128(1)), ArrayId::new(Uuid::from_u128(2)));
    let location = Location { id: roof, name: "Roof".into(), zone: Zone::utc(), position: None, installed_kwp: Some(9.5) };
    store.location_save(location).await.unwrap();
    let gateway = GatewayId::parse("gw-1").unwrap();
    store.gateway_move(&gateway, roof, begin).await.unwrap();
    let always = TimeWindow { from: begin, until: None };
    let installed = InstalledArray { id: array, location: roof, kwp: 9.5, tilt: 30.0, azimuth: 180.0, window: always };
    store.array_save(installed).await.unwrap();
    let (sensor, point) = (SensorId::parse("s").unwrap(), PointId::new(Uuid::from_u128(3)));
    store.point_save(Point { id: point, location: roof, name: "South".into(), role: SensorRole::Production }).await.unwrap();
    store.binding_create(Binding { point, gateway: gateway.clone(), sensor: sensor.clone(), window: always }).await.unwrap();
    let correction = CorrectionNew {
        id: CorrectionId::new(Uuid::from_u128(4)),
        series: SeriesKey {
            gateway: gateway.clone(),
            sensor,
            metric: MetricName::parse("power").unwrap(),
            unit: Unit::parse("W").unwrap(),
        },
        window: TimeWindow::between(begin, begin.plus_millis(40 * DAY_MS)),
        kind: CorrectionKind::Scale { factor: 2.0 },
        reason: "a wrong transformer".into(),
    };
    store.correction_create(correction).await.unwrap();
    let customer = Customer { id: CustomerId::new(Uuid::from_u128(5)), name: "Ana".to_owned(), email: None };
    store.customer_save(customer.clone()).await.unwrap();
    // Up to the middle of a window, behind which another one owns it.
    let window = TimeWindow::between(begin.plus_millis(DAY_MS), begin.plus_millis(20 * DAY_MS - 5 * 60_000));
    let commission = Commission { id: CommissionId::new(Uuid::from_u128(6)), customer: customer.id, gateway, window };
    store.commission_create(commission.clone()).await.unwrap();
    store.close().await;
    let retention = ["store", "retention", "--provider", "sunrise", "--days", "14", "--run"];
    assert!(!run_with_input(&retention, folder.path(), "").starts_with("0 readings"));

    let export = ["customer", "export", "--provider", "sunrise", "--customer", &customer.id.to_string(), "--out", "ana"];
    run_with_input(&export, folder.path(), "");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("ana").join(name)).unwrap();
    let csv = |kind: &str| -> Vec<Vec<String>> {
        let text = read(&format!("{kind}/{}.csv", commission.id));
        text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let (readings, rollups) = (csv("readings"), csv("rollups"));
    assert!(readings.len() < 6 * 144, "retention has left {} readings", readings.len());
    let time = |row: &Vec<String>| Timestamp::parse_rfc3339(&row[0]).unwrap();
    assert!(rollups.len() > 18 * 96 && rollups.is_sorted_by_key(time), "{} windows", rollups.len());
    assert!(rollups.iter().all(|row| window.contains(time(row)) && row[1..4] == ["s", "power", "W"]), "{rollups:?}");
    // As the correction has it, and nothing of the next owner's 900 W.
    assert!(rollups.iter().all(|row| row[6] == "200" && row[10].parse::<f64>().unwrap() <= 50.001), "{:?}", rollups.last());

    let json: serde_json::Value = serde_json::from_str(&read("customer.json")).unwrap();
    let until = window.end().to_string();
    for (what, field, is) in [
        ("locations", "name", "Roof"),
        ("placements", "until", until.as_str()),
        ("arrays", "until", until.as_str()),
        ("sensors", "id", "s"),
        ("points", "name", "South"),
        ("bindings", "until", until.as_str()),
        ("corrections", "reason", "a wrong transformer"),
    ] {
        assert_eq!((json[what].as_array().unwrap().len(), json[what][0][field].as_str()), (1, Some(is)), "{what}");
    }
}
