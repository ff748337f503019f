//! Who is given what: each kind of caller under each kind of rule, request by request. The table is made by hand.

use tidewait::access::tokens::line;

use crate::model_file::ModelFile;
use crate::server::{Client, Server};

const MODEL: &str = r#"{"nodes":{"node-1":{"a":1},"node-2":{"a":2}},"secret":{"k":1},"shared":{"s":1}}"#;

/// What is asked for, one column each.
const REQUESTS: [&str; 9] = [
    "/describe/zone-a",
    "/describe/zone-a?select=/shared",
    "/describe/zone-a?select=/nodes/node-1",
    "/describe/zone-a?select=/nodes/node-2",
    "/describe/zone-a?select=/shared&select=/nodes/node-1",
    "/describe/zone-a?select=/nodes",
    "/describe/zone-b",
    "/describe/public",
    "/describe/none",
];

/// What a letter of the table stands for: a status, and the body of a 200.
fn meaning(letter: &str) -> (u16, &'static str) {
    match letter {
        "U" => (401, ""),
        "F" => (403, ""),
        "X" => (404, ""),
        "W" => (200, MODEL),
        "S" => (200, r#"{"shared":{"s":1}}"#),
        "1" => (200, r#"{"nodes":{"node-1":{"a":1}}}"#),
        "2" => (200, r#"{"nodes":{"node-2":{"a":2}}}"#),
        "B" => (200, r#"{"nodes":{"node-1":{"a":1}},"shared":{"s":1}}"#),
        "C" => (200, r#"{"nodes":{"node-2":{"a":2}},"shared":{"s":1}}"#),
        "N" => (200, r#"{"nodes":{"node-1":{"a":1},"node-2":{"a":2}}}"#),
        "M" => (200, r#"{"nodes":{"node-1":{"a":1}},"secret":{"k":1},"shared":{"s":1}}"#),
        other => panic!("{other:?} stands for nothing"),
    }
}

/// Callers whose credentials are good.
const KNOWN: [(&str, &[&str]); 4] =
    [("node-1", &["edge"]), ("node-2", &["edge"]), ("other", &[]), ("admin", &["site-ops"])];

/// The fields that a caller of the table sends.
fn credentials(caller: &str) -> Vec<(&'static str, String)> {
    let field = |value: &str| ("Authorization", value.to_owned());
    match caller {
        "nobody" => vec![],
        "bad" => vec![field("Bearer unknown")],
        "basic" => vec![field("Basic bm9kZS0xOm5vZGUtMQ==")],
        "twice" => vec![field("Bearer node-1"), field("Bearer node-1")],
        known => vec![field(&format!("Bearer {known}"))],
    }
}

/// Settings of the file, what zone-b has of its own, and the table.
const TABLES: [(&str, &str, &str); 10] = [
    (
        // Whoever is known may poll everything.
        "access: {tokens: TOKENS}",
        "",
        "nobody U U U U U U U U U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 W S 1 2 B N W W X
         node-2 W S 1 2 B N W W X
         other  W S 1 2 B N W W X
         admin  W S 1 2 B N W W X",
    ),
    (
        // And whoever is not; but one whose credential is not good is not nobody.
        "allowAnonymous: true\naccess: {tokens: TOKENS}",
        "",
        "nobody W S 1 2 B N W W X
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 W S 1 2 B N W W X
         admin  W S 1 2 B N W W X",
    ),
    (
        // By name.
        "access: {tokens: TOKENS, rules: [{subjects: ['user:node-*'], verbs: [get], operations: [zone-a]}]}",
        "",
        "nobody U U U U U U U U U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 W S 1 2 B N F F F
         node-2 W S 1 2 B N F F F
         other  F F F F F F F F F
         admin  F F F F F F F F F",
    ),
    (
        // Each its part, and one all of it.
        "access: {tokens: TOKENS, rules: [\
         {subjects: ['group:edge'], verbs: [get], operations: ['zone-*'], restrict: [/shared, '/nodes/{name}']}, \
         {subjects: ['user:admin'], verbs: [get], operations: ['*']}]}",
        "",
        "nobody U U U U U U U U U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 B S 1 F B F B F F
         node-2 C S F 2 F F C F F
         other  F F F F F F F F F
         admin  W S 1 2 B N W W X",
    ),
    (
        // One operation for whoever brings no credential, the others for whoever brings one.
        "access: {tokens: TOKENS, rules: [\
         {subjects: [anonymous], verbs: [get], operations: [public]}, \
         {subjects: [authenticated], verbs: [get], operations: ['zone-*']}]}",
        "",
        "nobody U U U U U U U W U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 W S 1 2 B N W F F
         other  W S 1 2 B N W F F
         admin  W S 1 2 B N W F F",
    ),
    (
        // An operation with rules of its own is for nobody else.
        "access: {tokens: TOKENS}",
        "access: {rules: [{subjects: ['group:edge'], verbs: [get], restrict: ['/nodes/{name}']}]}",
        "nobody U U U U U U U U U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 W S 1 2 B N 1 W X
         node-2 W S 1 2 B N 2 W X
         other  W S 1 2 B N F W X
         admin  W S 1 2 B N F W X",
    ),
    (
        // Rules of the process and of an operation: what either allows.
        "access: {tokens: TOKENS, rules: [{subjects: ['user:admin'], verbs: [get], operations: ['zone-*']}]}",
        "access: {rules: [{subjects: ['group:edge', anonymous], verbs: [get], restrict: [/shared]}]}",
        "nobody U U U U U U S U U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 F F F F F F S F F
         node-2 F F F F F F S F F
         other  F F F F F F F F F
         admin  W S 1 2 B N W F F",
    ),
    (
        // The parts of all rules that are about a caller.
        "access: {tokens: TOKENS, rules: [\
         {subjects: [authenticated], verbs: [get], operations: [zone-a], restrict: [/shared]}, \
         {subjects: ['group:edge'], verbs: [get], operations: [zone-a], restrict: ['/nodes/{name}']}, \
         {subjects: ['user:node-1'], verbs: [get], operations: [zone-a], restrict: [/secret]}]}",
        "",
        "nobody U U U U U U U U U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 M S 1 F B F F F F
         node-2 C S F 2 F F F F F
         other  S S F F F F F F F
         admin  S S F F F F F F F",
    ),
    (
        // Patterns.
        "access: {tokens: TOKENS, rules: [\
         {subjects: ['group:*-ops', 'user:*-1'], verbs: [get], operations: ['*-a', 'pub*']}]}",
        "",
        "nobody U U U U U U U U U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 W S 1 2 B N F W F
         node-2 F F F F F F F F F
         other  F F F F F F F F F
         admin  W S 1 2 B N F W F",
    ),
    (
        // Who is bound to no node has no part of one.
        "access: {tokens: TOKENS, rules: [\
         {subjects: [authenticated], verbs: [get], operations: ['*'], restrict: ['/nodes/{node}']}]}",
        "",
        "nobody U U U U U U U U U
         bad    U U U U U U U U U
         basic  U U U U U U U U U
         twice  U U U U U U U U U
         node-1 F F F F F F F F F
         admin  F F F F F F F F F",
    ),
];

/// A server with these settings.
async fn serving(model: &ModelFile, settings: &str, own: &str) -> Server {
    let tokens = model.beside("tokens");
    let lines =
        KNOWN.map(|(name, groups)| line(name, name, &groups.iter().map(ToString::to_string).collect::<Vec<_>>()));
    std::fs::write(&tokens, lines.join("\n")).expect("written");
    let operation = |name: &str, more: &str| {
        format!("- {{name: {name}, path: /describe/{name}, source: {{file: {{path: {}}}}}{more}}}\n", model.arg())
    };
    let own = if own.is_empty() { String::new() } else { format!(", {own}") };
    let operations = [operation("zone-a", ""), operation("zone-b", &own), operation("public", "")].concat();
    let head = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";
    let settings = settings.replace("TOKENS", &tokens);
    let config = model.beside("config.yaml");
    std::fs::write(&config, format!("{head}{settings}\noperations:\n{operations}")).expect("written");
    let server = Server::start(&["--config", &config]).await;
    super::until("its models are read", &server, super::Port::Admin, "/readyz", |reply| reply.status == 200).await;
    server
}

#[tokio::test]
async fn every_caller_is_given_what_the_rules_allow_and_nothing_else() {
    let mut cells = 0;
    for (settings, own, table) in TABLES {
        let model = ModelFile::new(MODEL);
        let server = serving(&model, settings, own).await;
        for row in table.lines() {
            let mut words = row.split_whitespace();
            let caller = words.next().expect("a caller");
            let letters: Vec<_> = words.collect();
            assert_eq!(letters.len(), REQUESTS.len(), "{row}");
            let fields = credentials(caller);
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut client = Client::connect(server.listen).await;
            for (letter, target) in letters.into_iter().zip(REQUESTS) {
                let reply = client.get(target, &fields).await;
                let (status, body) = meaning(letter);
                let told = String::from_utf8_lossy(&reply.body);
                assert_eq!(reply.status, status, "{settings} {own}\n{caller} {target}: {told}");
                if status == 200 {
                    assert_eq!(told, body, "{settings} {own}\n{caller} {target}");
                } else {
                    let hidden = ["zone-", "public", "node-", "secret"].into_iter().find(|text| told.contains(text));
                    assert!(status == 404 || hidden.is_none(), "{caller} {target} learns of {hidden:?}: {told}");
                }
                assert_eq!(reply.field("www-authenticate").is_empty(), status != 401, "{caller} {target}: {reply:?}");
                if client.closed {
                    client = Client::connect(server.listen).await;
                }
                cells += 1;
            }
        }
    }
    assert!(cells > 600, "{cells} cells");
}

/// Two callers, each of whom may see a part of the same operation: nothing of the one is visible to the other.
#[tokio::test]
async fn what_one_tenant_may_not_see_it_cannot_tell_from_what_does_not_exist() {
    let model = ModelFile::new(MODEL);
    let settings = "access: {tokens: TOKENS, rules: [\
                    {subjects: ['user:node-*'], verbs: [get], operations: [zone-a], restrict: ['/nodes/{name}']}]}";
    let server = serving(&model, settings, "").await;
    let ask = async |name: &str, target: &str| {
        let bearer = format!("Bearer {name}");
        Client::connect(server.listen).await.get(target, &[("Authorization", &bearer)]).await
    };
    // Alike, but for the date.
    let shown = |reply: &crate::server::Reply| {
        let fields: Vec<_> = reply.fields.iter().filter(|(name, _)| name != "date").cloned().collect();
        (reply.status, fields, reply.body.clone())
    };
    let absent = ask("node-1", "/describe/zone-a?select=/nodes/node-9").await;
    assert_eq!(absent.status, 403);
    for target in ["/nodes/node-2", "/secret", "/nodes", "/nodes/node-2/a", "/nothing"] {
        let refused = ask("node-1", &format!("/describe/zone-a?select={target}")).await;
        assert_eq!(shown(&refused), shown(&absent), "{target}");
    }
    for path in ["/describe/zone-b", "/describe/public", "/describe/none", "/", "/describe"] {
        assert_eq!(shown(&ask("node-1", path).await), shown(&ask("node-1", "/x").await), "{path}");
    }
    let (one, two) = (ask("node-1", "/describe/zone-a").await, ask("node-2", "/describe/zone-a").await);
    assert_ne!(one.id(), two.id());
    // Nor does a change of what the other sees show: neither as an answer nor in the id.
    model.replace(&MODEL.replace(r#""a":2"#, r#""a":3"#));
    let later = ask("node-2", &format!("/describe/zone-a?since={}&wait=30", two.id())).await;
    assert_eq!(String::from_utf8_lossy(&later.body), r#"{"nodes":{"node-2":{"a":3}}}"#);
    assert_eq!(shown(&ask("node-1", "/describe/zone-a").await), shown(&one));
    let parked = ask("node-1", &format!("/describe/zone-a?since={}&wait=1", one.id())).await;
    assert_eq!(parked.status, 204);
    // An id of the other is one that this caller never had.
    let foreign = ask("node-1", &format!("/describe/zone-a?since={}&wait=0", later.id())).await;
    assert_eq!((foreign.status, foreign.body), (200, one.body));
}
