//! Against a real Docker engine, with a stand-in for the product's binary.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::time::Duration;

use heliograph_domain::Timestamp;
use heliograph_provisioner::{
    ApplyError, Cause, Class, Endpoint, Engine, EngineError, HealthState, Observer, Plan, Refusal, Status, apply, plan_removal,
    ports_in_use,
};
use serde_json::{Value, json};

use crate::bench::{Bench, build, docker, inspect};

fn classes(plan: &Plan) -> Vec<(Class, &str)> {
    plan.steps.iter().map(|step| (step.operation.class(), step.operation.name())).collect()
}

fn get(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn mounts(container: &Value) -> Vec<(&str, &str, bool)> {
    let mounts = container["Mounts"].as_array().unwrap().iter();
    let text = |mount: &'_ Value, key: &str| mount[key].as_str().map(str::to_owned).unwrap();
    let mut found: Vec<_> = mounts
        .map(|mount| {
            assert!(!text(mount, "Source").contains("docker.sock"));
            (mount["Type"].as_str().unwrap(), mount["Destination"].as_str().unwrap(), mount["RW"].as_bool().unwrap())
        })
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn two_providers_come_up_and_a_second_apply_does_nothing() {
    let bench = Bench::of(2).await;
    let first = bench.apply().await;
    assert_eq!(first.tally().create, 10);
    let ids: Vec<_> = bench.observe().await.containers.into_iter().map(|container| container.id).collect();

    let second = bench.apply().await;
    assert!(second.is_empty(), "{second}");
    let same: Vec<_> = bench.observe().await.containers.into_iter().map(|container| container.id).collect();
    assert_eq!(ids, same);

    for (_, slot, _) in &bench.providers {
        let answer = get(slot.admin_port());
        assert!(answer.contains("data ok") && answer.contains("tmp ok"), "{answer}");
        assert!(answer.contains("root refused"), "{answer}");
        assert!(get(slot.ingest_port()).starts_with("HTTP/1.0 200"));
    }
}

#[tokio::test]
async fn planning_changes_nothing() {
    let bench = Bench::of(1).await;
    assert_eq!(bench.plan().await.tally().create, 5);
    let observed = bench.observe().await;
    assert!(observed.containers.is_empty() && observed.networks.is_empty() && observed.volumes.is_empty());
}

#[tokio::test]
async fn the_containers_are_hardened() {
    let bench = Bench::of(1).await;
    bench.apply().await;
    let (id, slot, _) = &bench.providers[0];
    for (prefix, role) in [("remote_server", "ingest"), ("admin_panel", "admin"), ("mailer", "mailer")] {
        let container = inspect(&bench.container(0, prefix));
        let (host, config) = (&container["HostConfig"], &container["Config"]);
        assert_eq!(host["Privileged"], json!(false));
        assert_eq!(host["ReadonlyRootfs"], json!(true));
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert!(host["CapAdd"].is_null());
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]));
        assert_eq!(host["IpcMode"], json!("private"));
        assert_eq!((&host["PidMode"], &host["UTSMode"], &host["UsernsMode"]), (&json!(""), &json!(""), &json!("")));
        assert_eq!(host["NetworkMode"], json!(format!("heliograph_{id}")));
        assert_eq!(host["RestartPolicy"]["Name"], json!("unless-stopped"));
        assert_eq!(host["LogConfig"], json!({ "Type": "json-file", "Config": { "max-file": "3", "max-size": "10m" } }));
        assert!(host["Memory"].as_i64().unwrap() > 0 && host["MemorySwap"] == host["Memory"]);
        assert!(host["NanoCpus"].as_i64().unwrap() > 0 && host["PidsLimit"].as_i64().unwrap() > 0);
        assert_eq!(host["Ulimits"][0]["Name"], json!("nofile"));
        assert_eq!(config["User"], json!("65532:65532"));
        assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/heliograph", "healthcheck", "127.0.0.1:9090"]));
        assert_eq!(mounts(&container), [("volume", "/data", true)]);
        let labels = &config["Labels"];
        assert_eq!(labels["heliograph.managed"], json!("true"));
        assert_eq!(labels["heliograph.provider"], json!(id.as_str()));
        assert_eq!(labels["heliograph.role"], json!(role));
        assert_eq!(labels["heliograph.spec"].as_str().unwrap().len(), 64);
    }
    let published = |prefix: &str| inspect(&bench.container(0, prefix))["HostConfig"]["PortBindings"].clone();
    let on = |port: u16| json!([{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }]);
    assert_eq!(published("remote_server"), json!({ "6000/tcp": on(slot.ingest_port()) }));
    assert_eq!(published("admin_panel"), json!({ "80/tcp": on(slot.admin_port()) }));
    assert_eq!(published("mailer"), json!({}));
}

#[tokio::test]
async fn a_secret_is_a_read_only_file_and_nothing_else() {
    let mut bench = Bench::of(1).await;
    let file = bench.folder.path().join("password");
    std::fs::write(&file, "hunter2").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    chown(&file, Some(65_532), Some(65_532)).expect("chown needs root, as `make test` does");
    let (id, _, entry) = &mut bench.providers[0];
    *entry = format!(
        "[provider.{id}.mail]\nhost = \"relay.example\"\nfrom = \"a@b.example\"\nusername = \"u\"\npassword_file = \"password\"\n"
    );
    bench.apply().await;

    let mailer = bench.container(0, "mailer");
    let container = inspect(&mailer);
    assert_eq!(mounts(&container), [("bind", "/run/secrets/smtp_password", false), ("volume", "/data", true)]);
    assert!(docker(&["logs", &mailer]).contains("secret ok"), "the containers' user reads it");
    assert!(!container.to_string().contains("hunter2"));
    assert_eq!(mounts(&inspect(&bench.container(0, "admin_panel"))), [("volume", "/data", true)]);

    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "hunter3").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    chown(&file, Some(65_532), Some(65_532)).unwrap();
    let plan = bench.apply().await;
    assert_eq!(classes(&plan), [(Class::Replace, mailer.as_str())]);
    assert_eq!(plan.steps[0].causes, [Cause::Secret]);
}

#[tokio::test]
async fn a_foreign_container_is_named_and_left_alone() {
    let bench = Bench::of(1).await;
    let name = bench.container(0, "admin_panel");
    // The label lets the bench remove it; it is not managed.
    let label = format!("heliograph.fleet={}", bench.fleet);
    let command = ["create", "--name", &name, "--label", &label, "--entrypoint", "/x", "heliograph-stand-in:test"];
    let foreign = docker(&command).trim().to_owned();

    let plan = bench.plan().await;
    assert!(plan.refusals[0].to_string().contains(&format!("container {name} was not made by this tool")), "{plan}");
    let error = apply(&bench.engine, &plan, |_| ()).await.unwrap_err();
    assert!(matches!(error, ApplyError::InTheWay { refusals: 1 }));
    assert!(bench.observe().await.containers.is_empty(), "nothing was done");
    assert_eq!(inspect(&name)["Id"].as_str().unwrap(), foreign);
}

#[tokio::test]
async fn another_fleets_provider_of_the_same_name_is_left_alone() {
    let ours = Bench::of(1).await;
    ours.apply().await;
    let mut theirs = Bench::of(0).await;
    theirs.providers = ours.providers.clone();
    let plan = theirs.plan().await;
    assert!(plan.refusals.iter().any(|refusal| refusal.to_string().contains(&format!("belongs to the fleet `{}`", ours.fleet))));
    assert!(theirs.try_apply().await.is_err());
    assert!(ours.plan().await.is_empty());
}

#[tokio::test]
async fn removing_a_provider_keeps_its_volume_until_asked() {
    let mut bench = Bench::of(2).await;
    bench.apply().await;
    let (id, _, _) = bench.providers.remove(0);
    let removal = plan_removal(&bench.fleet, &id, &bench.observe().await, false);
    apply(&bench.engine, &removal, |_| ()).await.unwrap();

    let observed = bench.observe().await;
    assert!(observed.containers.iter().all(|container| container.provider != id));
    assert!(observed.networks.iter().all(|network| network.provider != id));
    assert!(observed.volumes.iter().any(|volume| volume.provider == id));
    let rest = bench.plan().await;
    assert!(rest.is_empty() && rest.kept_volumes == [format!("heliograph_{id}")], "{rest}");

    let destruction = plan_removal(&bench.fleet, &id, &observed, true);
    assert_eq!(classes(&destruction), [(Class::Destroy, format!("heliograph_{id}").as_str())]);
    apply(&bench.engine, &destruction, |_| ()).await.unwrap();
    assert!(bench.observe().await.volumes.iter().all(|volume| volume.provider != id));
}

#[tokio::test]
async fn a_provider_that_left_the_file_goes_with_the_next_apply() {
    let mut bench = Bench::of(2).await;
    bench.apply().await;
    let (id, _, _) = bench.providers.remove(1);
    let plan = bench.apply().await;
    assert_eq!(plan.tally().remove, 4, "{plan}");
    assert_eq!(plan.kept_volumes, [format!("heliograph_{id}")]);
}

#[tokio::test]
async fn what_was_killed_paused_or_removed_comes_back() {
    let bench = Bench::of(1).await;
    bench.apply().await;
    let [ingest, admin, mailer] = ["remote_server", "admin_panel", "mailer"].map(|prefix| bench.container(0, prefix));
    docker(&["kill", &mailer]);
    docker(&["pause", &admin]);
    docker(&["rm", "-f", &ingest]);
    let plan = bench.apply().await;
    let expected = [(Class::Create, ingest.as_str()), (Class::Start, &admin), (Class::Start, &mailer)];
    assert_eq!(classes(&plan), expected);
}

#[tokio::test]
async fn containers_come_back_onto_a_network_that_was_removed() {
    let bench = Bench::of(1).await;
    bench.apply().await;
    let names = ["remote_server", "admin_panel", "mailer"].map(|prefix| bench.container(0, prefix));
    for name in &names {
        docker(&["kill", name]);
    }
    docker(&["network", "rm", &format!("heliograph_{}", bench.providers[0].0)]);
    let plan = bench.apply().await;
    assert_eq!((plan.tally().create, plan.tally().replace), (1, 3), "{plan}");
}

#[tokio::test]
async fn changed_settings_replace_what_they_concern() {
    let mut bench = Bench::of(2).await;
    bench.apply().await;
    let (id, _, entry) = &mut bench.providers[1];
    *entry = format!("[provider.{id}.limits.mailer]\nmemory = \"64MiB\"\n");
    let mailer = bench.container(1, "mailer");
    let plan = bench.apply().await;
    assert_eq!(classes(&plan), [(Class::Replace, mailer.as_str())]);
    assert!(plan.to_string().contains("limits.memory 256MiB → 64MiB"), "{plan}");
    assert_eq!(inspect(&mailer)["HostConfig"]["Memory"], json!(64 << 20));
}

#[tokio::test]
async fn swapped_places_swap_their_ports() {
    let mut bench = Bench::of(2).await;
    bench.apply().await;
    let first = bench.providers[0].1;
    bench.providers[0].1 = bench.providers[1].1;
    bench.providers[1].1 = first;
    bench.apply().await;
    let published = inspect(&bench.container(1, "admin_panel"))["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"].take();
    assert_eq!(published, json!(first.admin_port().to_string()));
}

#[tokio::test]
async fn the_same_binary_is_the_same_image_and_another_one_replaces() {
    let mut bench = Bench::of(1).await;
    let tag = format!("heliograph-stand-in:{}", bench.fleet);
    build(&bench.engine, &tag, b"1").await;
    bench.use_image(&tag);
    bench.apply().await;

    build(&bench.engine, &tag, b"1").await;
    assert!(bench.plan().await.is_empty());

    build(&bench.engine, &tag, b"2").await;
    let plan = bench.apply().await;
    assert_eq!(plan.tally().replace, 3, "{plan}");
    assert!(plan.steps.iter().all(|step| matches!(step.causes[..], [Cause::Image { .. }])), "{plan}");
    drop(bench);
    docker(&["rmi", "-f", &tag]);
}

#[tokio::test]
async fn a_port_that_a_program_holds_is_named() {
    let bench = Bench::of(1).await;
    let port = bench.providers[0].1.admin_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let plan = bench.plan().await;
    let wanted: Vec<_> = plan.new_ports(&bench.observe().await).into_iter().map(|(port, _)| port).collect();
    assert_eq!(ports_in_use(&wanted).iter().map(|host| host.port()).collect::<Vec<_>>(), [port]);

    let Err(ApplyError::PortTaken { refusal }) = bench.try_apply().await else {
        panic!("the engine gave a port away that was taken");
    };
    assert!(refusal.to_string().contains(&format!("port {port} of the host, which {}", bench.container(0, "admin_panel"))));
    drop(listener);
    bench.apply().await;
}

#[tokio::test]
async fn a_port_that_a_container_holds_is_named_before_anything_is_done() {
    let holder = Bench::of(1).await;
    holder.apply().await;
    let mut bench = Bench::of(1).await;
    bench.providers[0].1 = holder.providers[0].1;
    let plan = bench.plan().await;
    let port = holder.providers[0].1.ingest_port();
    let refusal = Refusal::PortTaken {
        port,
        wanted_by: bench.container(0, "remote_server"),
        holder: Some(holder.container(0, "remote_server")),
    };
    assert!(plan.refusals.contains(&refusal), "{plan}");
    assert!(matches!(bench.try_apply().await, Err(ApplyError::InTheWay { refusals: 2 })));
    assert!(bench.observe().await.networks.is_empty());
}

#[tokio::test]
async fn a_container_that_is_not_well_is_named_with_its_last_lines() {
    let mut bench = Bench::of(1).await;
    bench.providers[0].2 = "public_url = \"https://broken.example\"\n".to_owned();
    let (_, unhealthy) = bench.try_apply().await.unwrap();
    let names: BTreeSet<_> = unhealthy.iter().map(|container| container.name.clone()).collect();
    assert_eq!(names, BTreeSet::from([bench.container(0, "admin_panel"), bench.container(0, "mailer")]));
    assert!(unhealthy.iter().all(|container| container.last_lines.iter().any(|line| line.contains("this panel is broken"))));
}

#[tokio::test]
async fn cut_off_after_any_step_one_more_run_completes() {
    for steps in 0..=5 {
        let bench = Bench::of(1).await;
        let mut plan = bench.plan().await;
        plan.steps.truncate(steps);
        apply(&bench.engine, &plan, |_| ()).await.unwrap();
        bench.apply().await;
        assert_eq!(bench.observe().await.containers.len(), 3);
    }
}

#[tokio::test]
async fn cut_off_inside_any_step_one_more_run_completes() {
    for millis in [20, 60, 150, 350, 700] {
        let bench = Bench::of(1).await;
        let plan = bench.plan().await;
        // The request that is under way is dropped with the connection.
        drop(tokio::time::timeout(Duration::from_millis(millis), apply(&bench.engine, &plan, |_| ())).await);
        settle(&bench).await;
        bench.apply().await;
        let observed = bench.observe().await;
        assert_eq!((observed.containers.len(), observed.networks.len(), observed.volumes.len()), (3, 1, 1), "{millis} ms");
    }
}

/// Waits until the engine has ended what it still did for the lost connection.
async fn settle(bench: &Bench) {
    let mut last = None;
    loop {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let now = bench.observe().await;
        if last.as_ref() == Some(&now) {
            return;
        }
        last = Some(now);
    }
}

#[tokio::test]
async fn status_shows_what_runs_and_what_does_not() {
    let bench = Bench::of(1).await;
    bench.apply().await;
    docker(&["rm", "-f", &bench.container(0, "mailer")]);
    let text = format!("{}[provider.{}]\nn = {}\n", bench.settings, bench.providers[0].0, bench.providers[0].1);
    let fleet = heliograph_provisioner::Fleet::parse(&text).unwrap();
    let now = Timestamp::clamped(i64::MAX);
    let status = Status::read(&fleet, bench.engine.observer(), now).await.unwrap();
    let states: Vec<_> = status.containers.iter().map(|row| row.state.as_str()).collect();
    assert_eq!(states, ["running", "running", "missing"]);
    assert!(!status.is_well());
    assert!(status.containers[..2].iter().all(|row| row.uptime_s.is_some() && row.health != HealthState::Unhealthy));
    assert_eq!(status.containers[1].ports, [bench.providers[0].1.admin_port()]);
    let table = status.render(heliograph_provisioner::Paint::PLAIN);
    assert!(table.lines().count() == 4 && !table.contains('\x1b'), "{table}");
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_named() {
    let endpoint = Endpoint::new(Some("unix:///nowhere/docker.sock"));
    for error in [Engine::connect(&endpoint).await.err(), Observer::connect(&endpoint).await.err()] {
        let error = error.unwrap();
        assert!(matches!(error, EngineError::Unreachable { .. }));
        assert!(error.to_string().contains("no Docker engine answers at unix:///nowhere/docker.sock"), "{error}");
    }
}
