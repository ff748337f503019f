//! Clients that show certificates, or not.

use rcgen::CertificateParams;
use rustls::{ClientConfig, Error};

use super::made::{client, params};
use super::{Authority, MODEL, Made, PARKED, Rig, config, write};
use crate::model_file::ModelFile;
use crate::server::{Client, STEP};

/// A server that verifies clients by an authority of their own.
async fn serving(more: &[&str]) -> (Rig, Authority) {
    let (model, clients) = (ModelFile::new(MODEL), Authority::new("client-ca"));
    let path = model.beside("clients.crt");
    write(&path, clients.certificate());
    let flags = [&["--tls-client-ca", &path][..], more].concat();
    (Rig::of(model, Authority::new("server-ca"), &flags).await, clients)
}

/// What comes of a poll by a client like this: its status, or the alert.
async fn poll(rig: &Rig, config: ClientConfig) -> Result<u16, String> {
    // With TLS 1.3 the client's handshake is over before the server has verified the client.
    let told = |error: std::io::Error| match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => format!("{alert:?}"),
        _ => format!("{error:?}"),
    };
    let stream = rig.shake_hands(config).await.map_err(told)?;
    let mut client = Client::on(stream);
    client.try_send("GET", "/describe", &[]).await.map_err(told)?;
    let mut line = String::new();
    let read = tokio::io::AsyncBufReadExt::read_line(&mut client.stream, &mut line);
    tokio::time::timeout(STEP, read).await.expect("in time").map_err(told)?;
    Ok(line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
}

fn over(version: &'static rustls::SupportedProtocolVersion, rig: &Rig, made: Option<&Made>) -> ClientConfig {
    super::config_of(&[version], &rig.authority, made)
}

#[tokio::test]
async fn who_is_let_in_depends_on_the_certificate_and_on_whether_one_is_required() {
    let other = Authority::new("another-ca");
    let required = Err("CertificateRequired".to_owned());
    for (word, anonymous, without) in
        [("optional", "false", Ok(403)), ("optional", "true", Ok(200)), ("required", "true", required)]
    {
        let anonymous = format!("--allow-anonymous={anonymous}");
        let (rig, clients) = serving(&["--tls-client-auth", word, &anonymous]).await;
        let good = clients.client("node-1", &["spiffe://example/node-1"]);
        let made: [(Made, Option<&str>); 6] = [
            (good, None),
            (clients.client("node-1", &[]), None),
            (other.client("node-1", &[]), Some("UnknownCA")),
            (clients.expired(client("node-1", &[])), Some("CertificateExpired")),
            (clients.client("node 1", &[]), Some("AccessDenied")),
            // A name of a kind that counts more, and is none, hides the others.
            (clients.client("node-1", &["spiffe://example/a%20b"]), Some("AccessDenied")),
        ];
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            assert_eq!(poll(&rig, over(version, &rig, None)).await, without, "{word} {anonymous}");
            for (at, (made, alert)) in made.iter().enumerate() {
                let met = poll(&rig, over(version, &rig, Some(made))).await;
                let expected = alert.map_or(Ok(200), |alert| Err(alert.to_owned()));
                assert_eq!(met, expected, "{word} {at} {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn new_authorities_count_at_once_also_for_who_was_let_in_before() {
    let (rig, clients) = serving(&["--tls-client-auth", "required"]).await;
    let made = clients.client("node-1", &[]);
    // One configuration for all: it keeps tickets.
    let known = config(&rig.authority, Some(&made));
    assert_eq!(poll(&rig, known.clone()).await, Ok(200));
    assert_eq!(poll(&rig, known.clone()).await, Ok(200));
    let resumed = "tidewait_tls_handshakes_total{kind=\"resumed\",port=\"clients\"}";
    assert_eq!(rig.server.metric(resumed).await.to_string(), "1");
    let next = Authority::new("next-ca");
    write(&rig.model.beside("clients.crt"), next.certificate());
    let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
    let refused = async {
        while poll(&rig, known.clone()).await != Err("UnknownCA".to_owned()) {
            look.tick().await;
        }
    };
    tokio::time::timeout(STEP, refused).await.expect("the former authority counts no more");
    assert_eq!(poll(&rig, config(&rig.authority, Some(&next.client("node-2", &[])))).await, Ok(200));
}

#[tokio::test]
async fn who_loses_its_authority_is_given_nothing_any_more_and_a_second_authority_disturbs_nobody() {
    let (rig, clients) = serving(&["--tls-client-auth", "required"]).await;
    let made = clients.client("node-1", &[]);
    let stream = rig.shake_hands(config(&rig.authority, Some(&made))).await.expect("it is let in");
    let mut client = Client::on(stream);
    let id = client.get("/describe", &[]).await.id().to_owned();
    let target = format!("/describe?since={id}&wait=50");
    client.send("GET", &target, &[]).await;
    rig.server.metric_becomes(PARKED, 1.0).await;
    let (next, file) = (Authority::new("next-ca"), rig.model.beside("clients.crt"));
    write(&file, format!("{}{}", clients.certificate(), next.certificate()));
    let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
    let other = next.client("node-2", &[]);
    let taken = async {
        while poll(&rig, config(&rig.authority, Some(&other))).await != Ok(200) {
            look.tick().await;
        }
    };
    tokio::time::timeout(STEP, taken).await.expect("the second authority is taken");
    rig.server.metric_becomes(PARKED, 1.0).await;
    write(&file, next.certificate());
    let ended = client.reply().await;
    assert_eq!((ended.status, ended.field("state-id")), (403, ""), "{ended:?}");
    assert_eq!(client.get("/describe", &[]).await.status, 403, "nor on the same connection");
}

#[tokio::test]
async fn the_order_of_names_is_configured() {
    let (rig, clients) = serving(&["--tls-client-auth=required", "--access-certificate-names=dns,cn"]).await;
    let issue = |params: &CertificateParams| clients.issue(params);
    for (made, expected) in [
        // Not looked at: a URI.
        (clients.client("node-1", &["spiffe://example/a%20b"]), Ok(200)),
        (issue(&params("node 1", &["node-1.example"])), Ok(200)),
        (issue(&params("node-1", &["*.example"])), Err("AccessDenied".to_owned())),
    ] {
        assert_eq!(poll(&rig, config(&rig.authority, Some(&made))).await, expected);
    }
}

#[tokio::test]
async fn a_parked_client_with_a_certificate_is_told() {
    let (rig, clients) = serving(&["--tls-client-auth=required"]).await;
    let made = clients.client("node-1", &[]);
    let stream = rig.shake_hands(config(&rig.authority, Some(&made))).await.expect("it is let in");
    let mut client = Client::on(stream);
    let id = client.get("/describe", &[]).await.id().to_owned();
    client.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
    rig.server.metric_becomes(PARKED, 1.0).await;
    rig.model.replace("{\"n\":2}");
    assert_eq!(client.reply().await.body, b"{\"n\":2}");
}

#[tokio::test]
async fn a_ticket_lets_in_nobody_whose_certificate_has_ended() {
    let (rig, clients) = serving(&["--tls-client-auth=required"]).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let mut params = client("node-1", &[]);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + std::time::Duration::from_secs(3);
    let known = config(&rig.authority, Some(&clients.issue(&params)));
    assert_eq!(poll(&rig, known.clone()).await, Ok(200));
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    let refused = async {
        loop {
            match poll(&rig, known.clone()).await {
                Ok(200) => look.tick().await,
                refused => break refused,
            };
        }
    };
    let refused = tokio::time::timeout(STEP, refused).await.expect("it ends");
    // By us, behind a handshake that took up a former one: rustls would have said so in an alert.
    assert_ne!(refused, Err("CertificateExpired".to_owned()));
    let failed = "tidewait_tls_handshake_failures_total{port=\"clients\",reason=\"certificate\"}";
    assert_eq!(rig.server.metric(failed).await.to_string(), "1");
}
