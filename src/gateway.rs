//! `heliograph gateway`: what gateways prove themselves with, and their clocks.

mod clock;
mod quota;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_domain::{CredentialId, Fingerprint, GatewayId, GatewayKey, GatewayState, KeyDigest, Timestamp, Zone};
use heliograph_store::{CredentialNew, CredentialRecord, ProviderStore, StoreError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use uuid::Uuid;

use crate::{output, readings, role};

/// Look after the keys, certificates and clocks of gateways.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Keys: two are valid while one is rotated.
    #[command(subcommand)]
    Key(KeyAction),
    /// Certificates that gateways prove themselves with over TLS.
    #[command(subcommand)]
    Certificate(CertificateAction),
    /// Say how wrong a gateway's clock is, or set what is added to its times.
    Clock(clock::Clock),
    /// Say how many gateways the provider has and may have, or set that.
    Quota(quota::Quota),
}

#[derive(Debug, clap::Subcommand)]
enum KeyAction {
    /// Make a new key and print it, this once; the old one stays valid beside it.
    Rotate(Rotate),
    /// List keys with when they were made and last used.
    List(Of),
    /// Say up to when a key is valid, or that it has no end.
    End(End),
    /// Refuse a key from now on.
    Revoke(Revoke),
}

#[derive(Debug, clap::Subcommand)]
enum CertificateAction {
    /// Register a certificate with a gateway.
    Add(Certificate),
    /// List the certificates of a gateway.
    List(Of),
    /// Take a certificate away from a gateway.
    Remove(Certificate),
}

#[derive(Debug, clap::Args)]
struct Of {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The gateway.
    #[arg(value_name = "GATEWAY")]
    gateway: GatewayId,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    #[command(flatten)]
    of: Of,
    /// Up to when the old key is valid: 2026-11-20, 2026-11-20T08:00 or
    /// 2026-11-20T08:00:00Z. Without it, until it is revoked. An end that it has
    /// already stays where that is sooner.
    #[arg(long, value_name = "TIME")]
    old_until: Option<String>,
    /// Zone of times that are given without an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
}

#[derive(Debug, clap::Args)]
struct End {
    #[command(flatten)]
    of: Of,
    /// The key, by its id.
    #[arg(long, value_name = "ID")]
    key: CredentialId,
    /// Up to when it is valid; `never`: it has no end.
    #[arg(long, value_name = "TIME")]
    at: String,
    /// Zone of times that are given without an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    #[command(flatten)]
    of: Of,
    /// The key, by its id.
    #[arg(long, value_name = "ID")]
    key: CredentialId,
}

#[derive(Debug, clap::Args)]
struct Certificate {
    #[command(flatten)]
    of: Of,
    /// SHA-256 of the certificate, as openssl x509 -fingerprint -sha256 prints it,
    /// or a PEM file with the certificate.
    #[arg(value_name = "FINGERPRINT|FILE")]
    certificate: String,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Key(action) => match action {
            KeyAction::Rotate(args) => rotate(args).await,
            KeyAction::List(of) => list_keys(of).await,
            KeyAction::End(args) => end(args).await,
            KeyAction::Revoke(args) => revoke(args).await,
        },
        Action::Certificate(action) => match action {
            CertificateAction::Add(args) => add_certificate(args).await,
            CertificateAction::List(of) => list_certificates(of).await,
            CertificateAction::Remove(args) => remove_certificate(args).await,
        },
        Action::Clock(args) => clock::run(args).await,
        Action::Quota(args) => quota::run(args).await,
    }
}

/// Opens the store and makes sure that there is such a gateway.
async fn open(of: &Of) -> anyhow::Result<ProviderStore> {
    let store = of.place.open()?;
    match store.gateway_fetch(&of.gateway).await {
        Ok(gateway) if gateway.state != GatewayState::Commissioned => {
            bail!("gateway {} is {}: only a commissioned one has keys and certificates", of.gateway, gateway.state)
        }
        Ok(_) => Ok(store),
        Err(StoreError::NotFound(_)) => bail!("provider {} has no gateway {}", store.provider(), of.gateway),
        Err(error) => Err(error).context("look for the gateway"),
    }
}

async fn rotate(args: Rotate) -> anyhow::Result<ExitCode> {
    let until = args.old_until.as_deref().map(|text| readings::time("--old-until", text, &args.zone)).transpose()?;
    let store = open(&args.of).await?;
    let (gateway, now) = (&args.of.gateway, (role::clock())());
    let key = GatewayKey::from_random(&rand::random());
    let id = CredentialId::new(Uuid::now_v7());
    let old: Vec<CredentialRecord> = store.credential_list(gateway).await?.into_iter().filter(|key| key.is_valid(now)).collect();
    store.credential_add(gateway, CredentialNew { id, digest: KeyDigest::of(key.reveal()) }, now).await?;
    let mut out = std::io::stdout().lock();
    output::ended(writeln!(out, "{}", key.reveal()))?;
    output::ended(out.flush())?;
    // An end that was set already may come sooner, never later.
    let end_of = |old: &CredentialRecord| until.into_iter().chain(old.until).min();
    for old in old.iter().filter(|old| end_of(old) != old.until) {
        store.credential_end(gateway, old.id, end_of(old), now).await.context("set the end of the old key")?;
    }
    note(&format!("the new key of {gateway} has the id {id} and is shown only here"));
    for old in &old {
        let ends = end_of(old).map_or_else(|| "until it is revoked".to_owned(), |until| format!("until {until}"));
        note(&format!("key {} stays valid {ends}", old.id));
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Says something beside the key, which may be piped on.
#[expect(clippy::print_stderr, reason = "standard output carries the key alone")]
fn note(text: &str) {
    eprintln!("{text}");
}

async fn list_keys(of: Of) -> anyhow::Result<ExitCode> {
    let (store, now) = (open(&of).await?, (role::clock())());
    let keys = store.credential_list(&of.gateway).await?;
    output::lines(
        keys.iter().map(|key| format!("{}  made {}  last used {}  {}", key.id, key.created, used(key.used), state(key, now))),
    )?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn used(used: Option<Timestamp>) -> String {
    used.map_or_else(|| "never".to_owned(), |used| used.to_string())
}

fn state(key: &CredentialRecord, now: Timestamp) -> String {
    match (key.revoked, key.until) {
        (Some(revoked), _) => format!("revoked {revoked}"),
        (None, Some(until)) if until <= now => format!("ended {until}"),
        (None, Some(until)) => format!("valid until {until}"),
        (None, None) => "valid".to_owned(),
    }
}

async fn end(args: End) -> anyhow::Result<ExitCode> {
    let until = match args.at.as_str() {
        "never" => None,
        text => Some(readings::time("--at", text, &args.zone)?),
    };
    let store = open(&args.of).await?;
    let ended = store.credential_end(&args.of.gateway, args.key, until, (role::clock())()).await;
    done(&store, ended, &args.of, &format!("key {} that is not revoked", args.key)).await
}

async fn revoke(args: Revoke) -> anyhow::Result<ExitCode> {
    let store = open(&args.of).await?;
    let revoked = store.credential_revoke(&args.of.gateway, args.key, (role::clock())()).await;
    done(&store, revoked, &args.of, &format!("key {} that is not revoked", args.key)).await
}

/// Ends a command; where what it named is missing, says so.
async fn done(store: &ProviderStore, outcome: Result<(), StoreError>, of: &Of, what: &str) -> anyhow::Result<ExitCode> {
    match outcome {
        Ok(()) => {}
        Err(StoreError::NotFound(_)) => bail!("gateway {} has no {what}", of.gateway),
        Err(error) => return Err(error.into()),
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// A certificate's fingerprint, as it was typed or of a file.
fn fingerprint(text: &str) -> anyhow::Result<Fingerprint> {
    if let Ok(fingerprint) = Fingerprint::parse(text) {
        return Ok(fingerprint);
    }
    let certificate = CertificateDer::from_pem_file(text)
        .map_err(|error| anyhow::anyhow!("{error:?}"))
        .with_context(|| format!("{text:?} is neither a SHA-256 fingerprint nor a PEM file with a certificate"))?;
    Ok(Fingerprint::of(&certificate))
}

async fn add_certificate(args: Certificate) -> anyhow::Result<ExitCode> {
    let fingerprint = fingerprint(&args.certificate)?;
    let store = open(&args.of).await?;
    store.certificate_add(&args.of.gateway, fingerprint, (role::clock())()).await?;
    output::ended(writeln!(std::io::stdout(), "{fingerprint}"))?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn list_certificates(of: Of) -> anyhow::Result<ExitCode> {
    let store = open(&of).await?;
    let certificates = store.certificate_list(&of.gateway).await?;
    output::lines(
        certificates
            .iter()
            .map(|known| format!("{}  registered {}  last used {}", known.fingerprint, known.created, used(known.used))),
    )?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn remove_certificate(args: Certificate) -> anyhow::Result<ExitCode> {
    let fingerprint = fingerprint(&args.certificate)?;
    let store = open(&args.of).await?;
    let removed = store.certificate_remove(&args.of.gateway, fingerprint).await;
    done(&store, removed, &args.of, &format!("certificate {fingerprint}")).await
}
