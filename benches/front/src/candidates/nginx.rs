//! nginx: with nchan as a server that parks, and plain as a reverse proxy.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::outcome::Outcome;

const PROGRAM: &str = "/usr/sbin/nginx";
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// Connections of a worker: as many as the descriptors of a process allow.
const CONNECTIONS: usize = 19_900;

/// Whether it is installed, and where not, what to say.
pub(crate) fn installed() -> Result<(), &'static str> {
    if Path::new(PROGRAM).exists() {
        Ok(())
    } else {
        Err("nginx is left out: it is not installed (Debian: nginx-light)")
    }
}

/// Whether nchan is, too.
pub(crate) fn nchan_installed() -> Result<(), &'static str> {
    let found = installed().is_ok() && Path::new(NCHAN).exists();
    if found { Ok(()) } else { Err("nchan is left out: it is not installed (Debian: libnginx-mod-nchan)") }
}

/// Its version, as it prints it.
pub(crate) fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("-v").output().ok()?;
    Some(String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("nginx version: ").to_owned())
}

/// Clients poll `/describe`, a model is published to `/change`, and `/status` says how many are parked.
pub(crate) fn nchan(folder: &Path, address: SocketAddr) -> Outcome<Command> {
    let server = format!(
        "server {{
            listen {address} backlog=4096;
            location = /describe {{
                nchan_subscriber longpoll;
                nchan_channel_id bench;
                nchan_subscriber_first_message oldest;
            }}
            location = /change {{
                nchan_publisher;
                nchan_channel_id bench;
                nchan_message_buffer_length 1;
                nchan_message_timeout 1h;
            }}
            location = /status {{ nchan_stub_status; }}
        }}"
    );
    start(folder, &format!("load_module {NCHAN};"), 1, &server)
}

/// A reverse proxy in front of an app, which keeps its connections.
pub(crate) fn proxy(folder: &Path, address: SocketAddr, app: SocketAddr) -> Outcome<Command> {
    let server = format!(
        "upstream app {{ server {app}; keepalive 64; keepalive_requests 1000000000; }}
        server {{
            listen {address} backlog=4096;
            location / {{
                proxy_pass http://app;
                proxy_http_version 1.1;
                proxy_set_header Connection \"\";
                proxy_set_header Host $host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
            }}
        }}"
    );
    start(folder, "", 2, &server)
}

fn start(folder: &Path, first: &str, workers: usize, servers: &str) -> Outcome<Command> {
    let config = folder.join("nginx.conf");
    let at = folder.display();
    let text = format!(
        "{first}
        user root;
        worker_processes {workers};
        daemon off;
        pid {at}/nginx.pid;
        error_log stderr error;
        events {{ worker_connections {CONNECTIONS}; }}
        http {{
            access_log off;
            default_type application/json;
            keepalive_timeout 1h;
            keepalive_requests 1000000000;
            client_body_temp_path {at}/body;
            proxy_temp_path {at}/proxy;
            fastcgi_temp_path {at}/fastcgi;
            uwsgi_temp_path {at}/uwsgi;
            scgi_temp_path {at}/scgi;
            {servers}
        }}
        "
    );
    fs::write(&config, text)?;
    let mut command = Command::new(PROGRAM);
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(config);
    Ok(command)
}
