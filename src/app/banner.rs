//! What a person is told who has just started the process.

use std::fmt::Write as _;

use super::App;

impl App {
    /// For a person who has just started it: where it is and what to try.
    #[must_use]
    pub fn banner(&self) -> String {
        let (listen, admin) = (self.listen, self.admin_address);
        let scheme_of = |tls: &Option<_>| if tls.is_some() { "https" } else { "http" };
        let scheme = scheme_of(&self.config.tls);
        let mut text = String::new();
        for operation in &self.config.operations {
            let url = format!("{scheme}://{listen}{}", operation.path);
            // Never to a file that may be served, and nothing where the answer is an error.
            let _ = write!(
                text,
                "operation {name} at {url}{credential}\n\n  \
                 curl -sf {url} -o copy.json -D head.txt && cat head.txt   # the model, and its State-Id\n  \
                 curl -si \"{url}?since=$(sed -n 's/^state-id: //p' head.txt | tr -d '\\r')\"   # waits until it changes\n\n",
                name = operation.name,
                credential = match (self.config.access.asks(), self.config.access.policy.anonymous) {
                    (true, true) => ", to clients with a good credential or with none",
                    (true, false) => ", to clients with a credential",
                    (false, _) => "",
                },
            );
        }
        for exchange in &self.config.exchanges {
            let _ = writeln!(
                text,
                "exchange {name}: requests for {scheme}://{listen}{path} wait for workers at {scheme}://{listen}{endpoint}\n",
                name = exchange.name,
                path = exchange.path.as_str(),
                endpoint = exchange.endpoint,
            );
        }
        for topic in &self.config.topics {
            let url = format!("{scheme}://{listen}{}", topic.path);
            let _ = write!(
                text,
                "topic {name} at {url}\n\n  \
                 curl -N -H 'Accept: text/event-stream' {url}   # reads messages as they come\n  \
                 curl -H 'Content-Type: text/plain' -d hello {url}   # publishes one\n\n",
                name = topic.name,
            );
        }
        if let Some(controller) = &self.config.controller {
            let namespace = &controller.namespace;
            let _ = writeln!(
                text,
                "operations come from the DescribeOperations of namespace {namespace}: kubectl get dop -n {namespace}\n"
            );
        }
        let _ =
            writeln!(text, "operators: curl {}://{admin}/state, /metrics, /readyz", scheme_of(&self.config.admin_tls));
        text
    }
}
