//! Bounds of clients and of the agent.

use std::time::Duration;

/// The longest `Reconnect-Within` that a client obeys.
pub const RECONNECT_WITHIN_MOST: Duration = Duration::from_secs(60);
/// Clients that come back in each second, if all do that were parked: `Reconnect-Within` is so many seconds, rounded up.
pub const RECONNECT_RATE: u64 = 1000;
/// Endpoints of one client; with more its settings are refused.
pub const CLIENT_ENDPOINTS: usize = 64;
/// Addresses of one name that a client tries; further ones are left out.
pub const CLIENT_ADDRESSES: usize = 64;
/// A name is looked up again for a new connection, once this is over.
pub const CLIENT_RESOLVED: Duration = Duration::from_secs(5);
/// Shortest and longest wait of a client.
pub const CLIENT_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// How much longer than its wait a client waits for the head of an answer, and how long for each further piece of one.
pub const CLIENT_SKEW: Duration = Duration::from_secs(10);
/// How long a client waits for a name, and for a connection with its TLS handshake.
pub const CLIENT_CONNECT: Duration = Duration::from_secs(5);
/// Bytes of the head of an answer to a client; a longer one is refused.
pub const CLIENT_HEAD_BYTES: usize = 64 * 1024;
/// Bytes that an answer has to bring in each second, once [`CLIENT_BODY_SLOW`] is over.
pub const CLIENT_BODY_PACE: u64 = 1024;
/// How long an answer may come as slowly as it likes, if only it moves.
pub const CLIENT_BODY_SLOW: Duration = Duration::from_secs(60);
/// Bytes of a problem that a client reads.
pub const CLIENT_PROBLEM_BYTES: usize = 16 * 1024;
/// Characters of a failure as a client tells it; a longer one is cut.
pub const CLIENT_TEXT: usize = 600;
/// Bytes of the window of zstd that a client gives memory to, as a power of two: the 8 MiB of RFC 9659.
pub const CLIENT_ZSTD_WINDOW: u32 = 23;
/// Bytes of a client's token file; a larger one is refused.
pub const CLIENT_TOKEN_BYTES: usize = 16 * 1024;
/// How often a client that was refused looks whether its files with credentials have changed.
pub const CLIENT_LOOK: Duration = Duration::from_secs(5);
/// First and longest ceiling of a client's pauses after failures; a pause is a random part of its ceiling.
pub const CLIENT_BACKOFF: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(30));
/// The shortest of them.
pub const CLIENT_BACKOFF_LEAST: Duration = Duration::from_millis(200);
/// The longest `Retry-After` that a client obeys.
pub const CLIENT_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Shortest and longest time for which a client leaves an endpoint alone that refuses it: what is wrong is not mended soon.
pub const CLIENT_REFUSED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));
/// Refusals in a row that an endpoint counts as having given, once it has no such operation: from the longest pause on.
pub const CLIENT_GONE: u32 = 4;
/// An answer that comes within this and brings nothing new is a sign of a loop, if it is not alone.
pub const CLIENT_QUICK: Duration = Duration::from_secs(1);
/// First and longest pause of a client after several of them in a row.
pub const CLIENT_NOTHING_NEW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Failures in a row after which a client tries another endpoint.
pub const CLIENT_FAILURES: u32 = 3;
/// How long a client leaves an endpoint that gives what cannot be true.
pub const CLIENT_LEFT: Duration = Duration::from_secs(600);
/// How long another endpoint has to be well before a client goes back to the first one; up to twice that.
pub const CLIENT_HEALTH: Duration = Duration::from_secs(300);
/// Age of a state from which a client looks whether another endpoint has a younger one.
pub const CLIENT_STALE: Duration = Duration::from_secs(60);
/// Least time between two such looks; at most twice that.
pub const CLIENT_LOOK_AROUND: Duration = Duration::from_secs(60);
/// Patches in a row that do not lead to the state that they should, after which a client asks an endpoint for none.
pub const CLIENT_PATCHES: u32 = 3;
/// How long a client waits for a verdict on the state that it has given before it polls without one.
pub const CLIENT_VERDICT: Duration = Duration::from_secs(1);
/// States without a verdict that a client keeps; beyond, the oldest is forgotten.
pub const CLIENT_GIVEN: usize = 8;
/// Verdicts that wait until a client looks at them; beyond, the oldest is forgotten.
pub const CLIENT_VERDICTS: usize = 16;
/// Least time between two polls that were asked for by hand.
pub const CLIENT_ASKED: Duration = Duration::from_secs(1);
/// Files that the agent makes of a model.
pub const AGENT_OUTS: usize = 256;
/// States that the agent remembers to have refused; of more, the first one is forgotten, and would be tried again.
pub const AGENT_REFUSED: usize = 16;
/// Bytes of a record in the agent's state directory; a longer one is damaged.
pub const AGENT_RECORD_BYTES: usize = 1024 * 1024;
/// Records of each name that are set aside, damaged or of another operation; the last one is replaced by a further one.
pub const AGENT_SET_ASIDE: usize = 4;
/// How long the agent's loop may take to come by where its admin port is asked whether it lives; a write to a slow disk takes seconds.
pub const AGENT_PULSE: Duration = Duration::from_secs(10);
/// Bytes of what an agent's admin port says of it.
pub const AGENT_REPORT_BYTES: usize = 256 * 1024;
/// Bytes that are kept of what a command of the agent prints to each pipe: half from its beginning, half from its end.
pub const HOOK_OUTPUT: usize = 64 * 1024;
/// How long the pipes of a command are read after it has ended: what it has started may hold them for ever.
pub const HOOK_PIPES: Duration = Duration::from_secs(1);
/// How long a command that was killed may take to end; then it is left to itself, and counts as killed.
pub const HOOK_KILLED: Duration = Duration::from_secs(5);
/// How often an agent looks whether a command has ended that an agent before it was running.
pub const HOOK_LOOK: Duration = Duration::from_millis(10);
/// How often an agent that starts tries to lock its state directory: `tidewait agent status` has the lock for a moment.
pub const AGENT_LOCK_TRIES: u32 = 20;
/// Between two of these tries.
pub const AGENT_LOCK_PAUSE: Duration = Duration::from_millis(10);
/// First and longest ceiling of the agent's pauses before a command that asked for it (exit code 75) is tried again.
pub const AGENT_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The same after a fault of the machine, such as a full disk.
pub const AGENT_MACHINE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How often the agent looks whether its output is what it holds.
pub const AGENT_ENFORCE: Duration = Duration::from_secs(60);
/// How long an agent that starts waits for a newer state before it goes on with the one that it had.
pub const AGENT_NEWER: Duration = Duration::from_secs(2);
/// How long `--dry-run` looks for the shortest difference of a file; beyond, it tells a longer one.
pub const AGENT_DIFF: Duration = Duration::from_secs(5);
/// Between two attempts of `--verify`.
pub const AGENT_VERIFY_AGAIN: Duration = Duration::from_secs(1);
/// Bytes of the instance of a relay in `Relay` and `State-Path`; a longer one is none.
pub const RELAY_INSTANCE_BYTES: usize = 64;
/// Processes that a state may have come through before a relay takes it.
pub const STATE_PATH_INSTANCES: usize = 8;
/// Seconds of `Retry-After` where the server of a relay does not let it serve: people have to mend that.
pub const RELAY_POLICY_RETRY: u32 = 30;
/// How long a relay may be without its server before it counts as cut off: it is not ready then, and tells those who wait.
pub const RELAY_CUT_OFF: Duration = Duration::from_secs(30);
/// Over how long the answers are spread that tell relays of another freshness, and clients that a relay is cut off.
pub const RELAY_TOLD_WITHIN: Duration = Duration::from_secs(1);
/// Answers a second when all who wait are told that a relay is cut off.
pub const RELEASES_A_SECOND: usize = 1_000;
/// Least time between two such times for one operation.
pub const RELAY_TOLD_EVERY: Duration = Duration::from_secs(5);
/// How much less time a relay has to catch up for a client for each process between it and the source.
pub const RELAY_HOP: Duration = Duration::from_millis(500);
/// Least time between two questions of a relay for clients that may be ahead.
pub const RELAY_READ_EVERY: Duration = Duration::from_millis(200);
/// The histories that requests ask a relay to catch up with at once; of more, those that came first are asked for.
pub const RELAY_EPOCHS: usize = 8;
/// Relays of an operation whose reports are known; of more, the one heard of longest ago is forgotten, and its agents counted.
pub const RELAYS: usize = 256;
/// Agents that a report may count in each way; more is refused.
pub const RELAY_AGENTS: u64 = 1_000_000_000;
/// Bytes of a report; a longer one is refused, and none is sent.
pub const RELAY_REPORT_BYTES: usize = 16 * 1024;
/// Agents that a report names; more are refused, and left out of one that is sent.
pub const RELAY_REPORT_WORST: usize = 16;
/// Characters of the name of each; a longer one is cut.
pub const RELAY_AGENT_CHARACTERS: usize = 256;
/// Least time between two reports of one instance; one that comes before is refused.
pub const RELAY_REPORT_PAUSE: Duration = Duration::from_secs(1);
/// A relay renews its report after half its wait, and at the latest after this.
pub const RELAY_REPORT_RENEW: Duration = Duration::from_secs(15);
/// How long the body of a report may take to arrive; then it is refused.
pub const RELAY_REPORT_BODY: Duration = Duration::from_secs(5);
/// How long a relay waits for the answer to a report, with the connection that it may need.
pub const RELAY_REPORT_ANSWER: Duration = Duration::from_secs(10);
/// Redirects in a row without `Retry-After` that a fetch follows; with one more it fails.
pub const FETCH_REDIRECTS: u32 = 20;
/// The shortest pause of a fetch that was asked to come back, also where `Retry-After` is 0 or has passed.
pub const FETCH_PAUSE_LEAST: Duration = Duration::from_millis(500);
/// First and longest pause before a fetch looks again at work whose answers do not say when.
pub const FETCH_LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long a fetch reads the body of an answer that is not the last one, for the place in the queue.
pub const FETCH_ASIDE: Duration = Duration::from_secs(1);
/// Characters of a state, or of a `Location`, as a fetch tells it; a longer one is cut.
pub const FETCH_SHOWN: usize = 200;
/// Shortest and longest deadline of a fetch.
pub const FETCH_DEADLINE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
/// Bytes of the body that a fetch sends, which it holds in memory to send it again; a longer one is refused.
pub const FETCH_BODY_BYTES: u64 = 64 * 1024 * 1024;
