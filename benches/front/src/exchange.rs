//! Servers where consumers' requests wait for workers that dial in, and those workers.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::ask;
use crate::candidates::{Place, own, serve, start};
use crate::outcome::{Outcome, because};
use crate::process::Process;

pub(crate) mod consumers;
pub(crate) mod pothead;
pub(crate) mod workers;

/// Where consumers ask.
pub(crate) const PATH: &str = "/work";

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) process: Process,
    /// Where consumers ask.
    pub(crate) address: SocketAddr,
    /// Where workers dial in that send nothing first.
    pub(crate) raw: SocketAddr,
    /// Where it tells its metrics; only Tidewait does.
    admin: Option<SocketAddr>,
}

impl Exchange {
    /// Tidewait, which takes as many requests of one client as of all.
    pub(crate) fn tidewait(place: &Place) -> Outcome<Self> {
        let [address, admin, raw] = ask::free()?;
        let config = place.folder.join("exchange.yaml");
        let text = format!(
            "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\nexchanges:\n- name: work\n  path: {PATH}\n  \
             queue: {{length: 20000, perClient: 20000}}\n  workers: {{raw: {raw:?}}}\n",
            raw = raw.to_string()
        );
        std::fs::write(&config, text)?;
        let mut command = serve(&place.tidewait, address, admin);
        command.arg("--config").arg(config);
        let mut process = start(&mut command, "exchange", place)?;
        ask::until_answered(admin, "/readyz", || process.must_run())?;
        Ok(Self { process, address, raw, admin: Some(admin) })
    }

    /// The hub of POTHEAD.
    pub(crate) fn pothead(place: &Place) -> Outcome<Self> {
        let [address, raw] = ask::free()?;
        let mut process = start(&mut pothead::hub(address, raw)?, "pothead", place)?;
        // It serves consumers first, and then workers, which dial again until it does.
        ask::until(|| {
            process.must_run()?;
            TcpStream::connect(address)?;
            Ok(())
        })?;
        Ok(Self { process, address, raw, admin: None })
    }

    /// A metric of the exchange, with its other label, if it has one.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Outcome<u64> {
        let admin = self.admin.ok_or_else(|| because("only Tidewait tells metrics"))?;
        let text = String::from_utf8(ask::get(admin, "/metrics")?)?;
        let of_it = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
        let line = text.lines().find(of_it).ok_or_else(|| because(format!("no metric {name} {label}")))?;
        Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
    }

    /// Waits until a gauge has this value.
    pub(crate) fn until(&mut self, name: &str, label: &str, value: usize) -> Outcome<()> {
        ask::until(|| match self.metric(name, label)? {
            there if usize::try_from(there)? == value => Ok(()),
            there => Err(because(format!("{name} is {there}, and not {value}"))),
        })?;
        self.process.must_run()
    }

    /// Workers over reverse HTTP/2, in a process of their own, once all have dialled in; each request takes them so long.
    pub(crate) fn dial(&mut self, place: &Place, workers: usize, slots: usize, job: Duration) -> Outcome<Process> {
        let mut command = own("serve-workers", self.address, None)?;
        command.args([workers.to_string(), slots.to_string(), job.as_millis().to_string()]);
        let process = start(&mut command, "workers", place)?;
        self.until("tidewait_exchange_slots", "state=\"free\"", workers * slots)?;
        Ok(process)
    }
}
