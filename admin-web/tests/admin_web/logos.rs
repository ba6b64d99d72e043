//! The provider's logo: sent by a form, shown to everybody, or refused at its field.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};

use crate::world::{Answer, Who, World, request};

/// One pixel, as a PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";
const BOUNDARY: &str = "----some-boundary";

/// A form as a browser sends it.
fn form(field: &str, image: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"../<b>.png\"\r\n\
         Content-Type: image/svg+xml\r\n\r\n"
    );
    [head.as_bytes(), image, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}

async fn send(world: &World, who: Who, body: Vec<u8>) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let asked = request(Method::POST, "/settings/logo", who).header(header::CONTENT_TYPE, kind);
    world.send(asked.body(Body::from(body)).unwrap()).await
}

/// Where a page shows the logo; empty where it shows none.
fn shown(page: &str) -> String {
    let Some((_, rest)) = page.split_once("<img class=\"logo\" src=\"") else { return String::new() };
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_logo_stands_beside_the_name_until_it_is_taken_away() {
    let world = World::new().await;
    assert_eq!(shown(&world.get(Who::Nobody, "/login").await.body), "");
    assert_eq!(send(&world, Who::Operator, form("logo", PNG)).await.location(), "/settings?done=saved");
    let place = shown(&world.get(Who::Nobody, "/login").await.body);
    assert!(place.starts_with("/assets/logo/") && place.ends_with(".png"), "{place}");
    for path in ["/", "/settings", "/no/such/page"] {
        assert_eq!(shown(&world.get(Who::Owner, path).await.body), place, "{path}");
    }
    let picture = world.get(Who::Nobody, &place).await;
    assert_eq!((picture.status, picture.header("content-type")), (StatusCode::OK, "image/png"));
    assert_eq!(picture.header("x-content-type-options"), "nosniff");
    assert_eq!(picture.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(picture.header("content-security-policy").contains("default-src 'none'"));
    let other = place.replace(".png", ".jpeg");
    assert_eq!(world.get(Who::Nobody, &other).await.status, StatusCode::NOT_FOUND);
    let entry = world.store.audit_list(1, 1000).await.unwrap().pop().unwrap();
    assert_eq!(entry.action, "logo.save");
    assert!(world.get(Who::Owner, "/audit").await.body.contains("Logo saved"));

    let done = world.post(Who::Operator, "/settings/logo/remove", &[]).await;
    assert_eq!(done.location(), "/settings?done=logo-gone");
    assert_eq!(world.get(Who::Nobody, &place).await.status, StatusCode::NOT_FOUND);
    assert_eq!(shown(&world.get(Who::Owner, "/").await.body), "");
}

#[tokio::test]
async fn what_is_no_logo_is_refused_at_its_field_and_changes_nothing() {
    let world = World::new().await;
    let wide = [&PNG[..16], &3_000u32.to_be_bytes(), &PNG[20..]].concat();
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    for (body, problem) in [
        (form("logo", svg), "SVG pictures may hold scripts and are not taken."),
        (form("logo", b"GIF89a"), "This is neither PNG nor JPEG nor WebP."),
        (form("logo", &wide), "The picture has 3000 × 1 pixels."),
        (form("logo", &PNG[..20]), "The picture is damaged"),
        (form("logo", b""), "Choose a picture."),
        (form("other", PNG), "Choose a picture."),
        (form("logo", &[PNG, &vec![0; 200_000]].concat()), "The picture has more than 200 kB."),
        (form("logo", &[PNG, &vec![0; 10_000_000]].concat()), "The picture has more than 200 kB."),
        (form("logo", &[PNG, &vec![0; 20_000_000]].concat()), "The picture has more than 200 kB."),
    ] {
        let answer = send(&world, Who::Owner, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        let at = format!("<p class=\"problem\" id=\"logo-problem\">{problem}");
        assert!(answer.body.contains(&at), "{at} in:\n{}", answer.body);
    }
    let cut = form("logo", PNG);
    let answer = send(&world, Who::Owner, cut[..cut.len() - 30].to_vec()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.store.logo_find().await.unwrap(), None);
    // Others do not get so far.
    for (who, status) in [(Who::Viewer, StatusCode::FORBIDDEN), (Who::Customer, StatusCode::NOT_FOUND)] {
        assert_eq!(send(&world, who, form("logo", PNG)).await.status, status);
    }
    assert_eq!(world.store.logo_find().await.unwrap(), None);
}
