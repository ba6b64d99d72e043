//! `heliograph mailer`: sends the summaries of a provider.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use heliograph_domain::{Actor, EmailAddress};
use heliograph_mailer::{MailSettings, Sender, Tls, TransportSettings};

use crate::settings::{self, Settings, Sources};
use crate::{logging, notify, ops, role};

/// Send the summaries of a provider by mail.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role: role::Args,
    /// Make and send what is due, then end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    sources: Sources,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(&args.sources, &[args.role.store_flag(), args.role.ops_flag()])?;
    logging::init(&mut settings, Some(&args.role.provider));
    let mail = mail_settings(&mut settings);
    let ops_address = settings.optional("ops.listen");
    let store = role::open(&args.role.provider, &mut settings)?.acting_as(Actor::System("mailer"));
    // `open` has reported why there are none.
    let mail = mail.context("mail settings are incomplete")?;
    if args.once {
        let done = heliograph_mailer::run_once(&store, &mail, &role::clock()).await.context("send mails")?;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "made {}, not made {}, sent {}, to be tried again {}, given up {}",
            done.made, done.failed, done.sent, done.retried, done.given_up
        )?;
    } else {
        let shutdown = role::shutdown_on_signals()?;
        ops::spawn(ops_address, &args.role.provider, store.clone(), None, shutdown.clone())?;
        tracing::info!(provider = %args.role.provider, "mailer runs");
        notify::running(&shutdown);
        heliograph_mailer::run(store.clone(), mail, role::clock(), shutdown).await.context("send mails")?;
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The mail settings; what is wrong with them is noted.
fn mail_settings(settings: &mut Settings) -> Option<MailSettings> {
    let transport = transport(settings)?;
    let hour: u8 = settings.required("mail.hour", MailSettings::DEFAULT_HOUR);
    if hour > 23 {
        settings.problem("mail.hour", "must be 0 to 23");
    }
    let from = match settings.optional::<Sender>("mail.from") {
        Some(from) => from,
        None if matches!(transport, TransportSettings::Folder(_)) => {
            Sender::new(None, EmailAddress::parse("heliograph@localhost").ok()?).ok()?
        }
        None => {
            settings.problem("mail.from", "is needed to send mails");
            return None;
        }
    };
    let links = settings.required("admin.links_by_mail", true);
    Some(MailSettings { from, transport, hour, public_url: settings.optional("admin.public_url"), links })
}

fn transport(settings: &mut Settings) -> Option<TransportSettings> {
    if let Some(folder) = settings::path(settings.text("mail.folder")) {
        return Some(TransportSettings::Folder(folder));
    }
    let Some(host) = settings.optional::<String>("mail.host") else {
        settings.problem("mail.host", "name a mail server, or a folder with mail.folder");
        return None;
    };
    let tls = match settings.text("mail.tls") {
        "required" => Tls::Required,
        "implicit" => Tls::Implicit,
        "none" => Tls::None,
        _ => {
            settings.problem("mail.tls", "must be required, implicit or none");
            return None;
        }
    };
    let credentials = match (settings.optional::<String>("mail.username"), settings.secret("mail.password")) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => {
            settings.problem("mail.password", "is needed with mail.username");
            return None;
        }
        (None, Some(_)) => {
            settings.problem("mail.username", "is needed with mail.password");
            return None;
        }
    };
    let ca = settings::path(settings.text("mail.ca"));
    Some(TransportSettings::Smtp { host, port: settings.required("mail.port", 587), tls, credentials, ca })
}
