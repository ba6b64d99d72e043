//! What a connection has said of itself and shown: by which gateway and proof its
//! documents are judged.

use std::net::SocketAddr;

use heliograph_domain::{Fingerprint, GatewayId, KeyDigest};

use crate::directory::{Directory, Proof};

/// What a connection has said of itself so far.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) hello: Option<Hello>,
    /// The `hello` of a gateway that was not let in yet.
    pub(crate) knocked: Option<Hello>,
    /// What it has said beside its document, for documents that say nothing.
    offered: Option<Offered>,
    /// The certificate of its connection.
    pub(crate) certificate: Option<Fingerprint>,
    /// Whether a key is not enough.
    pub(crate) needs_certificate: bool,
    /// The gateway that the certificate is registered with, as of the last look.
    pub(crate) owner: Option<GatewayId>,
    /// Whether a right key was seen on this connection.
    pub(crate) trusted: bool,
    /// Whether a wrong key of it was counted: a connection closes after one, and of a
    /// request it may come up beside the document and within it.
    pub(crate) guessed: bool,
    /// The gateway that it last proved to be.
    pub(crate) proven: Option<GatewayId>,
    /// Whether its documents are requests, answered one by one.
    pub(crate) by_http: bool,
}

/// What stands beside what is kept of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Witness {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Option<Fingerprint>,
    /// The key of documents that carry none.
    pub(crate) key: Option<KeyDigest>,
    pub(crate) needs_certificate: bool,
    pub(crate) trusted: bool,
    pub(crate) by_http: bool,
}

#[derive(Debug, Clone)]
struct Offered {
    gateway: Option<GatewayId>,
    key: KeyDigest,
}

#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) gateway: GatewayId,
    pub(crate) key: Option<KeyDigest>,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            hello: None,
            knocked: None,
            offered: None,
            certificate: None,
            needs_certificate: false,
            owner: None,
            trusted: false,
            guessed: false,
            proven: None,
            by_http: false,
        }
    }

    /// Says that its documents are requests.
    pub(crate) fn asks_by_http(self) -> Self {
        Self { by_http: true, ..self }
    }

    /// Says that a key is not enough.
    pub(crate) fn needs_certificate(self) -> Self {
        Self { needs_certificate: true, ..self }
    }

    /// Says that it has shown a certificate and has the private key of it.
    pub(crate) fn shows(self, certificate: Option<Fingerprint>) -> Self {
        Self { certificate, ..self }
    }

    /// What it has shown so far.
    pub(crate) fn witness(&self) -> Witness {
        Witness {
            address: self.address,
            certificate: self.certificate,
            key: self.key(),
            needs_certificate: self.needs_certificate,
            trusted: self.trusted,
            by_http: self.by_http,
        }
    }

    /// Says that it has proved to be a gateway.
    pub(crate) fn prove(&mut self, gateway: &GatewayId) {
        self.trusted = true;
        if self.proven.as_ref() != Some(gateway) {
            self.proven = Some(gateway.clone());
        }
    }

    /// What it proves to be a gateway with.
    pub(crate) fn proof(&self, key: Option<KeyDigest>) -> Proof {
        Proof { key, certificate: self.certificate, needs_certificate: self.needs_certificate }
    }

    /// Looks whose certificate it shows.
    pub(crate) fn look_up(&mut self, directory: &Directory) {
        self.owner = self.certificate.and_then(|certificate| directory.owner(&certificate).cloned());
    }

    /// Says that all its documents are of this gateway.
    pub(crate) fn introduce(&mut self, gateway: GatewayId, key: Option<KeyDigest>) {
        self.hello = Some(Hello { gateway, key });
    }

    /// Says whose documents are that name nobody, and gives a key.
    pub(crate) fn offer(&mut self, gateway: Option<GatewayId>, key: KeyDigest) {
        self.offered = Some(Offered { gateway, key });
    }

    /// The gateway of documents that name none.
    pub(crate) fn gateway(&self) -> Option<&GatewayId> {
        let offered = || self.offered.as_ref().and_then(|offered| offered.gateway.as_ref());
        self.owner.as_ref().or_else(|| self.said().map(|hello| &hello.gateway)).or_else(offered)
    }

    /// The key of documents that carry none.
    pub(crate) fn key(&self) -> Option<KeyDigest> {
        self.said().and_then(|hello| hello.key).or_else(|| self.offered.as_ref().map(|offered| offered.key))
    }

    /// The `hello` by which documents that name nobody are judged.
    pub(crate) fn said(&self) -> Option<&Hello> {
        self.hello.as_ref().or(self.knocked.as_ref())
    }
}
