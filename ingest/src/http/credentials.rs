//! Who pushes, as a request says it beside its document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heliograph_domain::{GatewayId, KeyDigest};
use hyper::{Request, header};
use percent_encoding::percent_decode_str;

use crate::peer::Peer;

/// Takes what path and headers say of a peer. A path names the gateway; the user
/// name of Basic credentials does where a document names none.
pub(super) fn offer<B>(request: &Request<B>, peer: &mut Peer) {
    if let Some((gateway, key)) = in_path(request.uri().path()) {
        peer.introduce(gateway, key);
    }
    let basic = request.headers().get(header::AUTHORIZATION).and_then(|value| basic(value.to_str().ok()?));
    if let Some((name, password)) = basic {
        peer.offer(GatewayId::parse(&name).ok(), KeyDigest::of(&password));
    }
}

/// `/push/<gateway>` or `/push/<gateway>/<key>`, with or without a slash behind it.
fn in_path(path: &str) -> Option<(GatewayId, Option<KeyDigest>)> {
    let mut parts = path.strip_prefix("/push/")?.splitn(2, '/');
    let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let gateway = GatewayId::parse(&decoded(parts.next()?)?).ok()?;
    let key = parts.next().map(|key| key.strip_suffix('/').unwrap_or(key)).and_then(decoded).filter(|key| !key.is_empty());
    Some((gateway, key.map(|key| KeyDigest::of(&key))))
}

/// Name and password of Basic credentials (RFC 7617).
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_from_path_and_header() {
        let gateway = |id: &str| GatewayId::parse(id).unwrap();
        assert_eq!(in_path("/push/gw-1/secret"), Some((gateway("gw-1"), Some(KeyDigest::of("secret")))));
        assert_eq!(in_path("/push/VENDOR%20123%2FDL1/a%2Fb"), Some((gateway("VENDOR 123/DL1"), Some(KeyDigest::of("a/b")))));
        assert_eq!(in_path("/push/gw-1/secret/"), in_path("/push/gw-1/secret"));
        assert_eq!(in_path("/push/gw-1/secret%2F"), Some((gateway("gw-1"), Some(KeyDigest::of("secret/")))));
        assert_eq!(in_path("/push/gw-1"), Some((gateway("gw-1"), None)));
        assert_eq!(in_path("/push/gw-1/"), Some((gateway("gw-1"), None)));
        for path in ["/", "/push", "/push/", "/push/%FF/k", "/other/gw-1/k"] {
            assert_eq!(in_path(path), None, "{path}");
        }
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(basic("Basic Z3ctMTpwYTpzcw=="), pair("gw-1", "pa:ss"));
        assert_eq!(basic("basic Z3ctMTo="), pair("gw-1", ""));
        for value in ["Bearer abc", "Basic", "Basic ###", "Basic Z3ctMQ=="] {
            assert_eq!(basic(value), None, "{value}");
        }
    }
}
