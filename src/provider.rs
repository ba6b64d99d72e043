//! `heliograph provider …`: the operator's commands over the fleet file.
//!
//! Exit codes: 0 done or nothing to do, 1 error, 2 the plan has changes
//! (`plan` only), 64 usage or settings.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use heliograph_domain::{ProviderId, Timestamp};
use heliograph_provisioner::{
    Endpoint, Engine, Event, Fleet, FleetFile, FleetFileError, Observed, Observer, Paint, Plan, Refusal, Slot, Status, Unhealthy,
    add, apply, await_health, build_image, desired, examine_secrets, plan, plan_removal, ports_in_use, remove,
};
use serde_json::json;

const CHANGES: u8 = 2;
const USAGE: u8 = 64;

/// Providers as containers, after a fleet file.
#[derive(Debug, Args)]
pub(crate) struct ProviderArgs {
    /// The file that says which providers there should be
    #[arg(long, global = true, value_name = "FILE", default_value = "fleet.toml")]
    fleet: PathBuf,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// The Docker engine's address [default: unix:///var/run/docker.sock]
    #[arg(long, global = true, value_name = "URL", env = "DOCKER_HOST", hide_env_values = true)]
    docker_host: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what `apply` would do, and change nothing (exit 2 if there is something)
    Plan,
    /// Make the engine hold what the fleet file says, and wait until all is healthy
    Apply {
        /// How long to wait for health, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout: u64,
    },
    /// Add a provider to the fleet file
    Add {
        /// The provider's id: 1 to 31 of a-z, 0-9 and _
        #[arg(value_parser = ProviderId::parse)]
        id: ProviderId,
        /// Its place: ports 6000 + n and 8080 + n [default: the lowest free one]
        #[arg(long, value_parser = slot)]
        n: Option<Slot>,
    },
    /// Take a provider out of the fleet file and remove its containers and network
    Rm {
        /// The provider's id
        #[arg(value_parser = ProviderId::parse)]
        id: ProviderId,
        /// Also remove its volume with all its data, for ever
        #[arg(long)]
        delete_data: bool,
    },
    /// Show every container of the fleet and how it fares
    Status,
    /// The image that all containers are made from
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Build the image from a static binary
    Build {
        /// The binary [default: this program]
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,
        /// The image's name
        #[arg(long, default_value = "heliograph:dev")]
        tag: String,
    },
}

fn slot(text: &str) -> Result<Slot, String> {
    let bounds = || format!("must be a whole number from {} to {}", Slot::MIN, Slot::MAX);
    text.parse().ok().and_then(Slot::new).ok_or_else(bounds)
}

/// Runs one command and says how it ended.
///
/// # Errors
/// When the engine or the file system fails; bad settings are printed here and
/// end in exit code 64.
pub(crate) async fn run(args: ProviderArgs) -> anyhow::Result<ExitCode> {
    let context = Context {
        file: FleetFile::at(&args.fleet),
        endpoint: Endpoint::new(args.docker_host.as_deref()),
        out: Output::new(args.json),
    };
    match args.command {
        Command::Plan => context.plan().await,
        Command::Apply { timeout } => context.apply(Duration::from_secs(timeout)).await,
        Command::Add { id, n } => context.add(&id, n),
        Command::Rm { id, delete_data } => context.rm(&id, delete_data).await,
        Command::Status => context.status().await,
        Command::Image { command: ImageCommand::Build { binary, tag } } => context.image_build(binary, &tag).await,
    }
    .or_else(|failure| match failure {
        Failure::Settings(message) => {
            crate::output::complain(&message);
            Ok(ExitCode::from(USAGE))
        }
        Failure::Other(error) => Err(error),
    })
}

/// How a command fails: by what the operator wrote, or by what happened.
enum Failure {
    Settings(String),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.downcast_ref::<FleetFileError>() {
            Some(FleetFileError::Missing { .. } | FleetFileError::Invalid { .. }) => Self::Settings(error.to_string()),
            _ => Self::Other(error),
        }
    }
}

type Outcome = Result<ExitCode, Failure>;

struct Context {
    file: FleetFile,
    endpoint: Endpoint,
    out: Output,
}

impl Context {
    async fn plan(&self) -> Outcome {
        let fleet = self.file.fleet()?;
        let observer = Observer::connect(&self.endpoint).await?;
        let plan = self.make_plan(&fleet, &observer).await?;
        if self.out.json {
            self.out.json(&serde_json::to_value(&plan)?);
        } else {
            self.out.text(&plan.render(self.out.paint));
            if !plan.is_empty() && plan.refusals.is_empty() {
                self.out.text("`heliograph provider apply` does this.\n");
            }
        }
        Ok(if !plan.refusals.is_empty() {
            ExitCode::FAILURE
        } else if plan.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(CHANGES)
        })
    }

    async fn make_plan(&self, fleet: &Fleet, observer: &Observer) -> Result<Plan, Failure> {
        let secrets = examine_secrets(fleet, &self.file.folder()).map_err(|errors| {
            let lines: Vec<_> = errors.iter().map(|error| format!("  {error}")).collect();
            Failure::Settings(format!("{} names secrets that cannot be used:\n{}", self.file.path().display(), lines.join("\n")))
        })?;
        let image = observer.image(&fleet.image).await?.with_context(|| {
            format!(
                "the engine has no image {}; build it with `heliograph provider image build --tag {}`, or name another in {}",
                fleet.image,
                fleet.image,
                self.file.path().display()
            )
        })?;
        let observed = observer.observe(&fleet.name).await?;
        let mut plan = plan(&desired(fleet, &image, &secrets), &observed);
        if self.endpoint.is_local() {
            refuse_taken_ports(&mut plan, &observed);
        }
        Ok(plan)
    }

    async fn apply(&self, timeout: Duration) -> Outcome {
        let fleet = self.file.fleet()?;
        let engine = Engine::connect(&self.endpoint).await?;
        let plan = self.make_plan(&fleet, engine.observer()).await?;
        self.out.progress(&plan.render_remarks(self.out.paint));
        self.carry_out(&engine, &plan).await?;
        let unhealthy = self.wait(&engine, &plan, timeout).await?;
        self.out.report_applied(&plan, &unhealthy)?;
        if unhealthy.is_empty() && !plan.is_empty() {
            self.out.progress(&addresses(&fleet));
        }
        Ok(if unhealthy.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn carry_out(&self, engine: &Engine, plan: &Plan) -> anyhow::Result<()> {
        let width = plan.steps.iter().map(|step| step.operation.name().len()).max().unwrap_or(0);
        let mut begun = Instant::now();
        let done = apply(engine, plan, |event| match event {
            Event::Started(step) => {
                begun = Instant::now();
                self.out.transient(&step.title(self.out.paint));
            }
            Event::Done(step) => {
                let took = self.out.paint.faint(&format!("{:.1} s", begun.elapsed().as_secs_f64()));
                self.out.progress(&format!("{}  {took}\n", step.render(self.out.paint, width)));
            }
        });
        done.await.inspect_err(|_| self.out.end_transient())?;
        Ok(())
    }

    async fn wait(&self, engine: &Engine, plan: &Plan, timeout: Duration) -> anyhow::Result<Vec<Unhealthy>> {
        let total = plan.containers.len();
        let specs: Vec<_> = plan.containers.iter().collect();
        let mut well = 0;
        if total > 0 {
            self.out.transient(&format!("Waiting for {total} containers to be healthy"));
        }
        let unhealthy = await_health(engine, &specs, timeout, |_| {
            well += 1;
            self.out.transient(&format!("{well} of {total} containers are healthy"));
        });
        let unhealthy = unhealthy.await;
        self.out.end_transient();
        Ok(unhealthy?)
    }

    fn add(&self, id: &ProviderId, slot: Option<Slot>) -> Outcome {
        let text = self.file.text_or_template()?;
        self.file.checked(&text)?;
        let (text, slot) = add(&text, id, slot).map_err(|error| Failure::Settings(error.to_string()))?;
        self.file.write(&text)?;
        let (ingest, admin) = (slot.ingest_port(), slot.admin_port());
        if self.out.json {
            self.out.json(&json!({ "provider": id, "n": slot, "ingest_port": ingest, "admin_port": admin }));
        } else {
            let path = self.file.path().display();
            self.out.text(&format!(
                "Added {} to {path} with n = {slot}: gateways push to port {ingest}, the panel is on port {admin}.\n\
                 `heliograph provider apply` starts it.\n",
                self.out.paint.strong(id.as_str()),
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn rm(&self, id: &ProviderId, delete_data: bool) -> Outcome {
        let text = self.file.text()?;
        let fleet = self.file.checked(&text)?;
        let engine = Engine::connect(&self.endpoint).await?;
        let observed = engine.observer().observe(&fleet.name).await?;
        let plan = plan_removal(&fleet.name, id, &observed, delete_data);
        let shorter = remove(&text, id).map_err(|error| Failure::Settings(error.to_string()))?;
        if shorter.is_none() && plan.is_empty() {
            return Err(Failure::Settings(self.unknown(id, &fleet, &plan)));
        }
        // The file first: when this is cut off here, the next apply removes the rest.
        if let Some(shorter) = &shorter {
            self.file.write(shorter)?;
            let note = format!("Took {} out of {}.\n", self.out.paint.strong(id.as_str()), self.file.path().display());
            self.out.progress(&note);
        }
        self.carry_out(&engine, &plan).await?;
        if self.out.json {
            self.out.json(&serde_json::to_value(&plan)?);
        }
        for volume in &plan.kept_volumes {
            self.out.progress(&format!(
                "Kept: volume {volume} with all its data. `heliograph provider rm {id} --delete-data` removes it, \
                 `heliograph provider add {id}` uses it again.\n"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn unknown(&self, id: &ProviderId, fleet: &Fleet, plan: &Plan) -> String {
        let known: Vec<_> = fleet.providers.keys().map(ProviderId::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let path = self.file.path().display();
        match plan.kept_volumes.first() {
            Some(volume) => format!("of `{id}` only its data is left, in the volume {volume}; --delete-data removes it"),
            None => format!("there is no provider `{id}` in {path}; there are: {known}"),
        }
    }

    async fn status(&self) -> Outcome {
        let fleet = self.file.fleet()?;
        let observer = Observer::connect(&self.endpoint).await?;
        let now = Timestamp::from(jiff::Timestamp::now());
        let status = Status::read(&fleet, &observer, now).await?;
        if self.out.json {
            self.out.json(&serde_json::to_value(&status)?);
        } else {
            self.out.text(&status.render(self.out.paint));
        }
        Ok(if status.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn image_build(&self, binary: Option<PathBuf>, tag: &str) -> Outcome {
        let binary = match binary {
            Some(binary) => binary,
            None => std::env::current_exe().context("find this program's own file")?,
        };
        let engine = Engine::connect(&self.endpoint).await?;
        let image = build_image(&engine, &binary, tag, env!("CARGO_PKG_VERSION")).await?;
        if self.out.json {
            self.out.json(&json!({ "tag": image.tag, "id": image.id, "binary_bytes": image.binary_bytes }));
        } else {
            self.out.text(&built(&binary, &image.tag, &image.id, image.binary_bytes));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn built(binary: &Path, tag: &str, id: &str, bytes: u64) -> String {
    let mib = bytes.div_ceil(1 << 20);
    format!("Image {tag} is {id},\nmade from {} ({mib} MiB).\n", binary.display())
}

fn refuse_taken_ports(plan: &mut Plan, observed: &Observed) {
    let wanted = plan.new_ports(observed);
    let ports: Vec<_> = wanted.iter().map(|(port, _)| *port).collect();
    for host in ports_in_use(&ports) {
        let named = |refusal: &Refusal| matches!(refusal, Refusal::PortTaken { port, .. } if *port == host.port());
        let wanted_by = wanted.iter().find(|(port, _)| port.host == host).map(|(_, name)| name.clone());
        if let (false, Some(wanted_by)) = (plan.refusals.iter().any(named), wanted_by) {
            plan.refusals.push(Refusal::PortTaken { port: host.port(), wanted_by, holder: None });
        }
    }
}

fn addresses(fleet: &Fleet) -> String {
    let lines = fleet.providers.iter().map(|(id, provider)| {
        let panel = provider.public_url.clone().unwrap_or_else(|| format!("port {}", provider.slot.admin_port()));
        format!("  {id}: gateways push to port {}, panel at {panel}\n", provider.slot.ingest_port())
    });
    lines.collect()
}

/// Where words go: results to standard output, progress there too, unless that
/// carries JSON.
struct Output {
    json: bool,
    terminal: bool,
    paint: Paint,
}

impl Output {
    fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal() && !json && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, terminal, paint: if terminal && !refused { Paint::COLOURED } else { Paint::PLAIN } }
    }

    fn text(&self, text: &str) {
        // A reader that went away wants no more of it.
        let _ = io::stdout().write_all(text.as_bytes());
    }

    fn json(&self, value: &serde_json::Value) {
        self.text(&format!("{value:#}\n"));
    }

    fn progress(&self, text: &str) {
        if self.json {
            let _ = io::stderr().write_all(text.as_bytes());
        } else {
            self.end_transient();
            self.text(text);
        }
    }

    /// A line that the next one overwrites; nothing where that is impossible.
    fn transient(&self, text: &str) {
        if self.terminal {
            self.text(&format!("\r\x1b[K{text} …"));
            let _ = io::stdout().flush();
        }
    }

    fn end_transient(&self) {
        if self.terminal {
            self.text("\r\x1b[K");
        }
    }

    fn report_applied(&self, plan: &Plan, unhealthy: &[Unhealthy]) -> anyhow::Result<()> {
        if self.json {
            self.json(&json!({ "plan": serde_json::to_value(plan)?, "unhealthy": serde_json::to_value(unhealthy)? }));
        }
        for container in unhealthy {
            self.progress(&container.render(self.paint));
        }
        if unhealthy.is_empty() {
            let done = if plan.is_empty() { "Nothing to do" } else { "Done" };
            let state = match plan.containers.len() {
                0 => "the fleet is empty".to_owned(),
                count => format!("all {count} containers are healthy"),
            };
            self.progress(&format!("{}: {state}.\n", self.paint.good(done)));
        }
        Ok(())
    }
}
