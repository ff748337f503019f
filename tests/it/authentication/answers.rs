//! Answers of an issuer that are no description and no keys, as an app gives them that the tests play.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use tidewait::access::Unverified;
use tidewait::bounds::ISSUER_BODY_BYTES;

use super::issuer::{Followed, config};
use crate::proxy::harness::{App, boxed};

/// A token that is good as far as it can be without its key: only what its issuer says is missing.
fn token(url: &str) -> String {
    use base64::Engine as _;
    let encode = |value: serde_json::Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(json!({"alg": "ES256", "kid": "a"}));
    let claims = encode(json!({"iss": url, "aud": "tidewait", "sub": "a", "exp": 253_402_300_799_u64}));
    format!("{header}.{claims}.AAAA")
}

#[tokio::test]
async fn an_answer_that_gives_no_keys_is_told_to_operators() {
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(ISSUER_BODY_BYTES));
    let description = |keys: &str| json!({"issuer": "ISSUER", "jwks_uri": keys}).to_string();
    for (status, body, expected) in [
        (StatusCode::OK, "<html>".to_owned(), "openid-configuration: it is no description of an issuer"),
        (StatusCode::NOT_FOUND, String::new(), "openid-configuration answers 404 Not Found: let everybody fetch it"),
        (StatusCode::FOUND, String::new(), "answers 302 Found, and redirects are not followed"),
        (StatusCode::OK, large, "cannot be fetched: length limit exceeded"),
        (StatusCode::OK, description("http://issuer.example/keys"), "is not protected"),
        (StatusCode::OK, description("https://who@issuer.example/keys"), "is no URL"),
        // The app gives the same answer where the keys should be.
        (StatusCode::OK, description("ISSUER/keys"), "/keys is no JWK Set"),
    ] {
        let body = Arc::new(body);
        let app = App::new(move |request: Request<Incoming>| {
            let body = Arc::clone(&body);
            async move {
                assert_ne!(request.uri().path(), "/elsewhere", "redirects are not followed");
                let host = request.headers()[header::HOST].to_str().expect("text");
                let body = body.replace("ISSUER", &format!("http://{host}"));
                let location = format!("http://{host}/elsewhere").parse().expect("a value");
                let mut response = Response::new(boxed(Full::new(Bytes::from(body))));
                *response.status_mut() = status;
                response.headers_mut().insert(header::LOCATION, location);
                response
            }
        })
        .await;
        let url = format!("http://{}", app.address);
        let followed = Followed::new(config(&url, None));
        match followed.issuer.check(&token(&url)).await {
            Err(Unverified::Unavailable(why)) => assert!(why.contains(expected), "{why}, and not {expected}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
