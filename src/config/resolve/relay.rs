//! PURE. What an agent serves below (`--serve`): what it holds, as a relay of the operation that it polls.

use super::{Config, ConfigFile, Layer, Problems, Reader, file, operation, process};
use crate::client;
use crate::config::Source;
use crate::config::file::OperationsField;

/// What to do where a port that others reach asks nobody who they are.
const WHO: &str =
    "name a file with --serve-config that says who may poll (access), or that anybody may (allowAnonymous: true)";

/// The configuration of the port that an agent serves at: `listen` is where, `file` has everything but operations, and the one
/// operation is that of these settings.
pub fn relay(listen: &str, config: Option<&ConfigFile>, settings: &client::Settings) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let mut flags = Layer::new("--serve");
    flags.add("listen", "--serve", listen);
    flags.add("path", "--operation", path(settings));
    let contents = config.map(|config| file::read(config, &mut problems)).unwrap_or_default();
    if let Some(config) = config.filter(|_| matches!(contents.operations, OperationsField::Listed(_))) {
        let message = "is of no use here: the agent serves the operation that it polls: leave it out";
        problems.push(format!("{}: operations", config.name), message);
    }
    let mut reader = Reader { layers: vec![&flags, &contents.settings], problems: &mut problems };
    let process = process(&mut reader, &contents.settings, WHO);
    let operation = operation(&mut reader, Some(Source::Describe(Box::new(settings.clone()))));
    match (process, operation) {
        (Some(process), Some(operation)) if problems.is_empty() => {
            Ok(Config { operations: vec![operation], ..process })
        }
        _ => Err(problems),
    }
}

/// The path of the operation: that of the agent's, else that of its first URL.
fn path(settings: &client::Settings) -> String {
    if !settings.operation.is_empty() {
        return settings.operation.clone();
    }
    let first = settings.endpoints.first().and_then(|url| url.parse::<http::Uri>().ok());
    first.map_or_else(|| "/describe".to_owned(), |url| url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> client::Settings {
        client::Settings::new("https://root.example:8480", "/zone")
    }

    fn told(listen: &str, text: Option<&str>) -> Vec<String> {
        let file = text.map(|text| ConfigFile {
            name: "f".to_owned(),
            text: Ok(format!("apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n{text}\n")),
        });
        match relay(listen, file.as_ref(), &settings()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn an_agent_serves_the_operation_that_it_polls() {
        let config = relay("127.0.0.1:8480", None, &settings()).expect("good");
        assert_eq!(config.operations.len(), 1);
        assert_eq!((&*config.operations[0].path, &*config.operations[0].name), ("/zone", "zone"));
        assert_eq!(config.operations[0].source, Source::Describe(Box::new(settings())));
        let by_url = client::Settings::new("https://root.example/base/x", "");
        assert_eq!(relay("127.0.0.1:1", None, &by_url).expect("good").operations[0].path, "/base/x");
        assert_eq!(told("0.0.0.0:1", Some("allowAnonymous: true")), Vec::<String>::new());
        assert_eq!(told("0.0.0.0:1", Some("access: {tokens: t}")), Vec::<String>::new());
    }

    const FAR: &str = "--serve: \"0.0.0.0:1\" is reached from other machines, and Tidewait asks nobody who they are: name a \
                       file with --serve-config";

    #[test]
    fn what_cannot_be_served_is_told_with_its_remedy() {
        for (listen, text, expected) in [
            ("0.0.0.0:1", None, FAR),
            ("here", None, "--serve: \"here\" is not an IP address with a port"),
            ("0.0.0.0:1", Some(""), FAR),
            (
                "127.0.0.1:1",
                Some("operations: [{path: /x, source: {file: {path: y}}}]"),
                "f: operations: is of no use here: the agent serves the operation that it polls: leave it out",
            ),
            ("127.0.0.1:1", Some("grace: x"), "f: grace: \"x\""),
        ] {
            let told = told(listen, text);
            assert!(told.iter().any(|told| told.starts_with(expected)), "{listen} {text:?}: {told:?}");
        }
    }
}
