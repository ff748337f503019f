//! What becomes of a configuration as a whole.

use clap::FromArgMatches as _;

use super::*;
use crate::config::{Format, FormatName};

const HEAD: &str = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";

fn layers(flags: &str, environment: &[(&str, &str)], yaml: Option<&str>) -> Layers {
    let command = <Options as clap::Args>::augment_args(clap::Command::new("serve").no_binary_name(true));
    let matches = command.try_get_matches_from(flags.split_whitespace()).expect("flags");
    Layers {
        flags: Options::from_arg_matches(&matches).expect("flags"),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect(),
        file: yaml.map(|yaml| ConfigFile { name: "t.yaml".to_owned(), text: Ok(format!("{HEAD}{yaml}")) }),
    }
}

#[track_caller]
fn sound(flags: &str, environment: &[(&str, &str)], yaml: Option<&str>) -> Config {
    resolve(&layers(flags, environment, yaml)).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn problems(flags: &str, environment: &[(&str, &str)], yaml: Option<&str>) -> String {
    resolve(&layers(flags, environment, yaml)).expect_err("problems").to_string()
}

fn millis(length: Duration) -> u128 {
    length.as_millis()
}

#[test]
fn the_defaults_are_a_configuration() {
    let config = sound("--file models/model.json", &[], None);
    let expected = Config {
        listen: "127.0.0.1:8480".parse().expect("an address"),
        admin: "127.0.0.1:8481".parse().expect("an address"),
        admin_tls: None,
        admin_access: false,
        upstream: None,
        trusted_proxies: Vec::new(),
        tls: None,
        access: Access { certificate_names: crate::access::certificate::NameKind::ALL.to_vec(), ..Access::default() },
        grace: Duration::from_secs(20),
        connections: 20_000,
        log: Log { format: crate::config::LogFormat::Text, level: "info".to_owned(), access: false },
        state_dir: None,
        kubeconfig: None,
        watch_timeout: Duration::from_secs(200),
        otlp_endpoint: None,
        file_roots: Vec::new(),
        controller: None,
        exchanges: Vec::new(),
        topics: Vec::new(),
        nats: None,
        operations: vec![Operation::example("describe", "/describe")],
    };
    assert_eq!(config, expected);
    let with_app = sound("--file x --upstream http://app", &[], None).upstream.expect("an app");
    assert_eq!(with_app.authority, "app:80");
    assert_eq!((millis(with_app.connect_timeout), millis(with_app.response_head_timeout)), (1000, 60_000));
    assert_eq!(with_app.body_idle_timeout, None);
    assert_eq!(with_app.protocol, crate::config::Protocol::Http1);
}

/// Of each setting: the flag's value, the variable's, the file's line, and what the configuration then says.
type Case = (&'static str, &'static str, &'static str, &'static str, fn(&Config) -> String, [&'static str; 3]);

const PRECEDENCE: [Case; 38] = [
    ("listen", "127.0.0.1:1", "127.0.0.1:2", "listen: 127.0.0.1:3", |c| c.listen.port().to_string(), ["1", "2", "3"]),
    ("admin", "0.0.0.0:1", "0.0.0.0:2", "admin: 0.0.0.0:3", |c| c.admin.port().to_string(), ["1", "2", "3"]),
    ("admin-access", "true", "false", "adminAccess: true", |c| c.admin_access.to_string(), ["true", "false", "true"]),
    (
        "upstream",
        "http://a:1",
        "http://a:2",
        "upstream: {url: 'http://a:3'}",
        |c| app(c).authority.to_string(),
        ["a:1", "a:2", "a:3"],
    ),
    (
        "upstream-protocol",
        "h2c",
        "http1",
        "upstream: {protocol: h2c}",
        |c| format!("{:?}", app(c).protocol),
        ["Http2", "Http1", "Http2"],
    ),
    (
        "upstream-connect-timeout",
        "1ms",
        "2ms",
        "upstream: {connectTimeout: 3ms}",
        |c| millis(app(c).connect_timeout).to_string(),
        ["1", "2", "3"],
    ),
    (
        "upstream-head-timeout",
        "1ms",
        "2ms",
        "upstream: {headTimeout: 3ms}",
        |c| millis(app(c).response_head_timeout).to_string(),
        ["1", "2", "3"],
    ),
    (
        "upstream-body-idle-timeout",
        "0",
        "2s",
        "upstream: {bodyIdleTimeout: 3s}",
        |c| format!("{:?}", app(c).body_idle_timeout),
        ["None", "Some(2s)", "Some(3s)"],
    ),
    (
        "trusted-proxies",
        "10.0.0.1,10.0.0.2",
        "10.0.0.3",
        "trustedProxies: [10.0.0.0/8]",
        |c| format!("{:?}", c.trusted_proxies),
        ["[10.0.0.1/32, 10.0.0.2/32]", "[10.0.0.3/32]", "[10.0.0.0/8]"],
    ),
    ("grace", "0", "2s", "grace: 3s", |c| millis(c.grace).to_string(), ["0", "2000", "3000"]),
    ("max-connections", "1", "2", "maxConnections: 3", |c| c.connections.to_string(), ["1", "2", "3"]),
    (
        "state-dir",
        "a",
        "b",
        "stateDir: c",
        |c| format!("{:?}", c.state_dir),
        ["Some(\"a\")", "Some(\"b\")", "Some(\"c\")"],
    ),
    (
        "allow-file-root",
        "/a,/b",
        "/c",
        "allowFileRoots: [/d]",
        |c| format!("{:?}", c.file_roots),
        ["[\"/a\", \"/b\"]", "[\"/c\"]", "[\"/d\"]"],
    ),
    (
        "kubeconfig",
        "a",
        "b",
        "kubeconfig: c",
        |c| format!("{:?}", c.kubeconfig),
        ["Some(\"a\")", "Some(\"b\")", "Some(\"c\")"],
    ),
    (
        "watch-timeout",
        "1s",
        "2s",
        "watchTimeout: 3s",
        |c| millis(c.watch_timeout).to_string(),
        ["1000", "2000", "3000"],
    ),
    ("log-format", "json", "text", "log: {format: json}", |c| format!("{:?}", c.log.format), ["Json", "Text", "Json"]),
    (
        "log-level",
        "warn",
        "debug",
        "log: {level: 'info,a=trace'}",
        |c| c.log.level.clone(),
        ["warn", "debug", "info,a=trace"],
    ),
    ("access-log", "true", "false", "log: {access: true}", |c| c.log.access.to_string(), ["true", "false", "true"]),
    ("tls-certificate", "a", "b", "tls: {certificate: c}", |c| tls(c.tls.as_ref()).0, ["a", "b", "c"]),
    ("tls-key", "a", "b", "tls: {key: c}", |c| tls(c.tls.as_ref()).1, ["a", "b", "c"]),
    ("tls-client-ca", "a", "b", "tls: {clientCa: c}", |c| tls(c.tls.as_ref()).2, ["a", "b", "c"]),
    ("admin-tls-certificate", "a", "b", "adminTls: {certificate: c}", |c| tls(c.admin_tls.as_ref()).0, ["a", "b", "c"]),
    ("admin-tls-key", "a", "b", "adminTls: {key: c}", |c| tls(c.admin_tls.as_ref()).1, ["a", "b", "c"]),
    ("admin-tls-client-ca", "a", "b", "adminTls: {clientCa: c}", |c| tls(c.admin_tls.as_ref()).2, ["a", "b", "c"]),
    (
        "tls-client-auth",
        "required",
        "optional",
        "tls: {clientAuth: required}",
        |c| tls(c.tls.as_ref()).3.to_string(),
        ["true", "false", "true"],
    ),
    (
        "access-certificate-names",
        "cn,dns",
        "uri",
        "access: {certificates: {names: [dns]}}",
        |c| format!("{:?}", c.access.certificate_names),
        ["[Cn, Dns]", "[Uri]", "[Dns]"],
    ),
    (
        "access-tokens",
        "a",
        "b",
        "access: {tokens: c}",
        |c| format!("{:?}", c.access.tokens),
        ["Some(\"a\")", "Some(\"b\")", "Some(\"c\")"],
    ),
    (
        "access-users",
        "a",
        "b",
        "access: {users: c}",
        |c| format!("{:?}", c.access.users),
        ["Some(\"a\")", "Some(\"b\")", "Some(\"c\")"],
    ),
    (
        "access-kubernetes",
        "a,b",
        "c",
        "access: {kubernetes: {audiences: [d, e]}}",
        |c| c.access.audiences.join(" "),
        ["a b", "c", "d e"],
    ),
    (
        "access-issuer",
        "https://a.example",
        "https://b.example",
        "access: {tokens: t}",
        |c| c.access.issuers.iter().map(|issuer| issuer.url.to_string()).collect(),
        ["https://a.example", "https://b.example", ""],
    ),
    (
        "access-issuer-audience",
        "a",
        "b",
        "access: {tokens: t}",
        |c| c.access.issuers.iter().map(|issuer| issuer.audience.clone()).collect(),
        ["a", "b", ""],
    ),
    (
        "access-authorization",
        "kubernetes",
        "both",
        "access: {tokens: t, authorization: rules}",
        |c| format!("{:?}", c.access.judges),
        ["Kubernetes", "Both", "Rules"],
    ),
    (
        "allow-clear-credentials",
        "true",
        "false",
        "allowClearCredentials: true",
        |c| c.access.clear_credentials.to_string(),
        ["true", "false", "true"],
    ),
    (
        "access-origins",
        "https://A:443",
        "http://b:1",
        "access: {origins: [\"http://c:80\"]}",
        |c| c.access.origins.concat(),
        ["https://a", "http://b:1", "http://c"],
    ),
    (
        "forward-credentials",
        "true",
        "false",
        "access: {forwardCredentials: true}",
        |c| c.access.forward_credentials.to_string(),
        ["true", "false", "true"],
    ),
    (
        "forward-user",
        "X-A",
        "X-B",
        "access: {tokens: t, forwardUser: X-C}",
        |c| format!("{:?}", c.access.identity_fields.user),
        ["Some(\"x-a\")", "Some(\"x-b\")", "Some(\"x-c\")"],
    ),
    (
        "forward-groups",
        "X-A",
        "X-B",
        "access: {tokens: t, forwardGroups: X-C}",
        |c| format!("{:?}", c.access.identity_fields.groups),
        ["Some(\"x-a\")", "Some(\"x-b\")", "Some(\"x-c\")"],
    ),
    (
        "allow-anonymous",
        "true",
        "true",
        "allowAnonymous: true",
        |c| c.listen.ip().to_string(),
        ["0.0.0.0", "0.0.0.0", "0.0.0.0"],
    ),
];

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    for (flag, by_flag, by_variable, by_file, show, expected) in PRECEDENCE {
        let mut base = "--file x".to_owned();
        if flag.starts_with("upstream-") {
            base += " --upstream http://a";
        } else if flag == "allow-anonymous" {
            base += " --listen 0.0.0.0:80";
        } else if flag == "admin-access" {
            base += " --access-tokens x";
        } else if flag.contains("tls-") || flag == "access-certificate-names" {
            let port = if flag.starts_with("admin") { "admin-" } else { "" };
            let needed = ["certificate", "key", "client-ca"].map(|file| format!("{port}tls-{file}"));
            base.extend(needed.iter().filter(|needed| **needed != flag).map(|needed| format!(" --{needed} x")));
        }
        // An issuer has an audience: both, or neither where none is given by flags.
        let pair = match flag {
            "access-issuer" => " --access-issuer-audience x",
            "access-issuer-audience" => " --access-issuer https://x.example",
            _ => "",
        };
        let flags = format!("{base}{pair} --{flag}={by_flag}");
        let name = settings::environment_name(flag);
        let variables = [(name.as_str(), by_variable)];
        let empty = [(name.as_str(), "")];
        let found = [
            show(&sound(&flags, &variables, Some(by_file))),
            show(&sound(&format!("{base}{pair}"), &variables, Some(by_file))),
            show(&sound(&base, &empty, Some(by_file))),
        ];
        assert_eq!(found, expected, "{flag}");
    }
}

/// The files of TLS: certificate, key and authorities; and whether clients need a certificate.
#[track_caller]
fn tls(tls: Option<&crate::config::Tls>) -> (String, String, String, bool) {
    let tls = tls.expect("TLS").clone();
    let clients = tls.clients.expect("authorities");
    let [certificate, key, authorities] =
        [tls.certificate, tls.key, clients.authorities].map(|path| path.display().to_string());
    (certificate, key, authorities, clients.is_required)
}

#[track_caller]
fn app(config: &Config) -> Upstream {
    config.upstream.clone().expect("an app")
}

#[test]
fn flags_and_variables_describe_one_operation() {
    let flags = "--configmap ns/models:net.yaml --path /v1/net --version-from /v --wait-default 1s --wait-max 2s \
                 --min-interval 0 --max-parked 3 --max-parked-per-agent 4";
    let expected = Operation {
        name: "v1-net".to_owned(),
        path: "/v1/net".to_owned(),
        source: Source::ConfigMap {
            namespace: "ns".to_owned(),
            name: "models".to_owned(),
            key: Some("net.yaml".to_owned()),
            format: Format::Yaml,
        },
        version_from: Some("/v".to_owned()),
        wait: Wait { default: Duration::from_secs(1), max: Duration::from_secs(2) },
        min_interval: Duration::ZERO,
        parked: 3,
        parked_per_agent: 4,
        wake_spread: Duration::ZERO,
        paused: false,
        guard: None,
        confirmed: None,
        limits: Limits { pointers: 64, selections: 16_384, history_entries: 32, history_bytes: None },
        access: Vec::new(),
        relays: None,
    };
    assert_eq!(sound(flags, &[], Some("grace: 1s")).operations, std::slice::from_ref(&expected));
    let words: Vec<_> = flags.split_whitespace().collect();
    let names: Vec<_> = words.chunks(2).map(|pair| settings::environment_name(&pair[0][2..])).collect();
    let variables: Vec<_> = names.iter().zip(words.chunks(2)).map(|(name, pair)| (name.as_str(), pair[1])).collect();
    assert_eq!(sound("", &variables, None).operations, [expected]);
    let opaque = sound("--file a.json --format=opaque:text/x", &[], None).operations;
    assert!(matches!(&opaque[0].source, Source::File { format: Format::Opaque(kind), .. } if kind == "text/x"));
}

#[test]
fn a_file_describes_several_operations() {
    let yaml = "listen: '[::1]:1'\noperations:\n\
                - {source: {file: {path: m.csv}}, wait: {max: 10s}}\n\
                - name: all\n  path: /all\n  source: {configMap: {namespace: ns, name: n}}\n  limits: {parked: 5, parkedPerAgent: 6}\n\
                - path: /one\n  source: {configMap: {namespace: ns, name: n, key: k, format: json}}\n  versionFrom: /v\n  minInterval: 1s\n";
    let config = sound("--listen 127.0.0.1:2", &[("TIDEWAIT_GRACE", "1s")], Some(yaml));
    assert_eq!((config.listen.port(), millis(config.grace)), (2, 1000), "other settings still override the file");
    let names: Vec<_> = config.operations.iter().map(|o| (o.name.as_str(), o.path.as_str())).collect();
    assert_eq!(names, [("describe", "/describe"), ("all", "/all"), ("one", "/one")]);
    let ten = Duration::from_secs(10);
    assert_eq!(
        config.operations[0].wait,
        Wait { default: ten, max: ten },
        "the default gives way to a shorter maximum"
    );
    assert!(matches!(&config.operations[1].source, Source::ConfigMap { key: None, format: Format::Json, .. }));
    assert_eq!((config.operations[1].parked, config.operations[1].parked_per_agent), (5, 6));
    assert_eq!(
        (config.operations[2].version_from.as_deref(), millis(config.operations[2].min_interval)),
        (Some("/v"), 1000)
    );
}

#[test]
fn a_file_describes_objects_of_any_kind_and_the_app() {
    let yaml = "upstream: {url: 'http://app'}\noperations:\n\
        - {path: /a, source: {resource: {apiVersion: tidewait.dev/v1alpha1, kind: NetworkModel, namespace: net, name: zone-a}}}\n\
        - path: /b\n  source:\n    resource:\n      apiVersion: v1\n      kind: Node\n      namespace: net\n      field: status\n\
        \x20     selector: {matchLabels: {b: c, a: ''}, matchExpressions: [{key: x/y, operator: NotIn, values: [q, p]}, {key: d, operator: DoesNotExist}]}\n\
        - {path: /c, source: {upstream: {path: '/m?a=?', interval: 90s}}, wakeSpread: 2s, paused: true, guard: {maxRemovedPercent: 0}}\n\
        - path: /d\n  source: {upstream: {path: /m, format: yaml, trigger: {apiVersion: v1, kind: ConfigMap, namespace: net, name: n}}}\n\
        \x20 limits: {pointers: 1, selections: 2, historyEntries: 0, historyBytes: 4}\n";
    let operations = sound("", &[], Some(yaml)).operations;
    let sources: Vec<_> = operations.iter().map(|operation| operation.source.to_string()).collect();
    assert_eq!(sources, ["NetworkModel zone-a", "Node with !d,a=,b=c,x/y notin (p,q)", "app /m?a=?", "app /m"]);
    let in_cluster: Vec<_> = operations.iter().map(|operation| operation.source.is_in_cluster()).collect();
    assert_eq!(in_cluster, [true, true, false, true]);
    let has_field =
        |at: usize, name: &str| matches!(&operations[at].source, Source::Resource { field, .. } if field == name);
    assert!(has_field(0, "spec") && has_field(1, "status"));
    let format = |at: usize| {
        let Source::Upstream { format, .. } = &operations[at].source else { panic!("it is not the app") };
        format.clone()
    };
    assert_eq!((format(2), format(3)), (None, Some(FormatName::Yaml)));
    let third = &operations[2];
    assert_eq!((millis(third.wake_spread), third.paused, third.guard), (2000, true, Some(0)));
    let limits = Limits { pointers: 1, selections: 2, history_entries: 0, history_bytes: Some(4) };
    assert_eq!((operations[3].limits, operations[3].guard), (limits, None));
}

#[test]
fn spans_go_where_the_standard_variables_say() {
    let endpoint = |variables: &[(&str, &str)]| sound("--file x", variables, None).otlp_endpoint;
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x");
    assert_eq!(endpoint(&[base]).as_deref(), Some("http://c:4318/v1/traces"));
    assert_eq!(endpoint(&[base, traces]).as_deref(), Some("http://t/x"));
    assert_eq!(endpoint(&[(base.0, "")]), None);
    assert!(
        problems("--file x", &[(base.0, "c:4317")], None)
            .starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: \"c:4317\" is not an")
    );
    let encrypted = problems("--file x", &[(base.0, "https://c:4318")], None);
    assert!(encrypted.contains("is https, but the way to the collector is not encrypted"), "{encrypted}");
}

#[test]
fn every_mistake_is_told_at_once() {
    let flags = "--listen=0.0.0.0:8480 --upstream=https://me:secret@app/base --grace=20 --log-level=inof --wait-max=5s --config=t.yaml";
    let variables = [
        ("TIDEWAIT_MAX_CONNECTIONS", "lots"),
        ("TIDEWAIT_WATCH_TIMEOUT", "5m"),
        ("TIDEWAIT_PORT", "tcp://10.0.0.1:80"),
        ("TIDEWAIT_TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
    ];
    let yaml = "listne: x\ngrace: [1s]\nmaxConnections: 0\noperations:\n\
                - path: describe\n  source: {file: {path: a}, configMap: {namespace: N, name: n}}\n\
                - wait: {default: 2m, max: 1m}\n  source: {file: {path: m.bin}}\n  versionFrom: /v\n  limits: {parked: 0, perAgent: 2}\n\
                - source: {file: {format: xml}}\n  name: A\n\
                - path: /describe\n";
    let expected = "\
t.yaml: listne: is no field: did you mean listen?
t.yaml: grace: is a list, but a duration is wanted: write one such as 25s
t.yaml: operations[1].limits.perAgent: is no field: the fields here are parked, parkedPerAgent, pointers, selections, historyEntries, historyBytes
--listen: \"0.0.0.0:8480\" is reached from other machines, and Tidewait asks nobody who they are: give --access-tokens FILE or another way to know clients (--access-users, --access-kubernetes, --access-issuer, --tls-client-ca), or --allow-anonymous if anyone who reaches the port may read the model, or listen on a loopback address such as 127.0.0.1:8480
--upstream: \"https://***@app/base\" is https, but the way to the app is not encrypted: write a URL such as http://127.0.0.1:3000
TIDEWAIT_TRUSTED_PROXIES: \"proxy\" is not a network: write an address and the length of its prefix, such as 10.0.0.0/8
TIDEWAIT_MAX_CONNECTIONS: \"lots\" is not a whole number: write 1 to 1000000
t.yaml: maxConnections: \"0\" is out of bounds: write 1 to 1000000
--grace: \"20\" has no unit: write h, m, s or ms after the number, such as 25s
TIDEWAIT_WATCH_TIMEOUT: \"5m\" is out of bounds: write 1s to 200s
--log-level: \"inof\" is not a log level: write off, error, warn, info, debug or trace, or a filter such as info,tidewait=debug
--wait-max: \"5s\" describes the only operation, but t.yaml lists operations: write it there
t.yaml: operations[0].source.configMap.namespace: \"N\" is not a namespace: write at most 63 of a-z, 0-9 and -, not beginning or ending with -
t.yaml: operations[0].source: holds file and configMap: keep one
t.yaml: operations[0].path: \"describe\" does not begin with /: write a path such as /describe
t.yaml: operations[1].versionFrom: \"/v\" points into an opaque model, which is not parsed: set the format to json or yaml
t.yaml: operations[1].wait.default: \"2m\" is longer than the longest wait, 60s: lower it, or raise that
t.yaml: operations[1].limits.parked: \"0\" is out of bounds: write 1 to 1000000
t.yaml: operations[2].source.file.format: \"xml\" is not a format: write json, yaml, opaque or opaque:MEDIA/TYPE
t.yaml: operations[2].source.file.path: is missing: write it
t.yaml: operations[2].name: \"A\" is not a name: write at most 63 of a-z, 0-9 and -, not beginning or ending with -
t.yaml: operations[3].source: is missing or empty: write file, configMap, resource, upstream or describe in it";
    assert_eq!(problems(flags, &variables, Some(yaml)), expected);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_does_not_fit_together_is_told() {
    for (flags, yaml, expected) in [
        ("", None, "tidewait: nothing to serve: name a model with --file PATH or"),
        ("--grace 1s", Some("grace: 2s"), "tidewait: nothing to serve:"),
        ("--file a --configmap ns/n", None, "--configmap: \"ns/n\" is a second source beside --file: give one of them"),
        ("--configmap ns/n --format yaml", None, "--format: \"yaml\" is for one key, but all keys together are JSON:"),
        ("--configmap ns/n:k --version-from /v", None, "--version-from: \"/v\" points into an opaque model"),
        ("--file a --wait-default 56s", None, "--wait-default: \"56s\" is longer than the longest wait, 55s:"),
        ("--file a --listen 127.0.0.1:8481", None, "--listen: \"127.0.0.1:8481\" is one port for --listen and --admin"),
        ("--file a --admin 0.0.0.0:8480", None, "--admin: \"0.0.0.0:8480\" is one port for --listen and --admin"),
        ("--file a --listen [::]:80", None, "--listen: \"[::]:80\" is reached from other machines"),
        (
            "--file a --listen 0.0.0.0:80 --allow-anonymous=false",
            None,
            "--listen: \"0.0.0.0:80\" is reached from other",
        ),
        (
            "--file a",
            Some("listen: 0.0.0.0:80\nallowAnonymous: false"),
            "t.yaml: listen: \"0.0.0.0:80\" is reached from other",
        ),
        (
            "--file a --upstream http://127.0.0.1:8480",
            None,
            "--upstream: \"http://127.0.0.1:8480\" is where Tidewait itself listens",
        ),
        ("--file=", None, "--file: \"\" is empty: write a path"),
        (
            "--file a",
            Some("operations: [{source: {file: {path: b}}}]"),
            "--file: \"a\" describes the only operation, but t.yaml lists",
        ),
        (
            "",
            Some("operations: [{source: {file: {path: b}}}, {source: {file: {path: c}}}]"),
            "t.yaml: operations[1].path: \"/describe\" is also the path of t.yaml: operations[0]: give each",
        ),
        (
            "",
            Some("operations: [{path: /a/b, source: {file: {path: b}}}, {path: /a-b, source: {file: {path: c}}}]"),
            "t.yaml: operations[1].name: \"a-b\" is also the name of t.yaml: operations[0]: give each",
        ),
        ("", Some("operations: [{source: {}}]"), "t.yaml: operations[0].source: is missing or empty: write"),
        (
            "",
            Some("operations: [{source: {fil: {path: x}}}]"),
            "t.yaml: operations[0].source.fil: is no field: did you mean file?",
        ),
        (
            "",
            Some("operations: [{source: {file: {pth: x}}}]"),
            "t.yaml: operations[0].source.file.pth: is no field: did you mean path?",
        ),
        (
            "",
            Some("operations: [{source: {upstream: {path: /m, interval: 5s}}}]"),
            "t.yaml: operations[0].source.upstream: asks the app, but none is behind: name it with --upstream",
        ),
        (
            "--upstream http://app",
            Some("operations: [{source: {upstream: {path: /m, interval: 5s, format: html}}}]"),
            "t.yaml: operations[0].source.upstream.format: \"html\" is not a format: write json, yaml, opaque or",
        ),
        (
            "--upstream http://app",
            Some("operations: [{source: {upstream: {path: /m, interval: 5s, format: opaque}}, versionFrom: /v}]"),
            "t.yaml: operations[0].versionFrom: \"/v\" points into an opaque model",
        ),
        (
            "--upstream http://app",
            Some("operations: [{source: {upstream: {path: /m}}}]"),
            "t.yaml: operations[0].source.upstream: holds neither trigger nor interval: write one of them",
        ),
        (
            "--file a --allow-file-root models",
            None,
            "--allow-file-root: \"models\" is not an absolute path without ..: write one such as",
        ),
        ("--file a --allow-file-root /a/../b", None, "--allow-file-root: \"/a/../b\" is not an absolute path without"),
        ("", Some("operations: 5"), "t.yaml: operations: 5 is a number, but a list is wanted"),
        ("--wait-max 5s", Some("operations: []"), "t.yaml: operations: is empty: list an operation"),
    ] {
        let found = problems(flags, &[], yaml);
        assert!(found.starts_with(expected) && found.lines().count() == 1, "{flags} {yaml:?}:\n{found}");
    }
}

#[test]
fn loopback_is_every_spelling_of_it() {
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        sound(&format!("--file x --listen {address}"), &[], None);
    }
    sound("--file x --listen 127.0.0.1:0 --admin 127.0.0.1:0", &[], None);
}

#[test]
fn a_bad_value_is_told_also_where_a_stronger_one_hides_it() {
    let found = problems("--file x --grace 1s", &[("TIDEWAIT_GRACE", "soon")], Some("grace: never"));
    let origins: Vec<_> = found.lines().filter_map(|line| line.split_once(": \"").map(|(origin, _)| origin)).collect();
    assert_eq!(origins, ["TIDEWAIT_GRACE", "t.yaml: grace"]);
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other_mistake() {
    let mut layers = layers("--grace 1 --wait-max 2", &[], None);
    layers.file =
        Some(ConfigFile { name: "t.yaml".to_owned(), text: Err("cannot be read: gone: name another".to_owned()) });
    let found = resolve(&layers).expect_err("problems").to_string();
    let origins: Vec<_> = found.lines().filter_map(|line| line.split_once(": ").map(|(origin, _)| origin)).collect();
    assert_eq!(origins, ["t.yaml", "--grace", "--wait-max"], "{found}");
}
