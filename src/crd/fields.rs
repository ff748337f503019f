//! The schema of each kind of field, where the Rust type says too little.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::schema::{
    LABEL_KEY, LABEL_VALUE, SUBDOMAIN, UP_TO_1_GI, UP_TO_256_KI, also, duration, list, matching, number, rule, text,
};
use crate::bounds::{ACCESS_NAME_BYTES, ACCESS_POINTER_BYTES, STATUS_AGENT, STATUS_TEXT};
use crate::config::ranges;

/// What a path of a request can hold.
const PATH: &str = "^/([!\"$&-;=@-_a-~]|%[0-9A-Fa-f]{2})*$";
/// The same, without the characters of a pattern.
const TOPIC_PATH: &str = "^/([!\"$&-;=@-_a-z|~]|%[0-9A-Fa-f]{2})*$";
const PATH_AND_QUERY: &str = "^/([!\"$&-;=@-_a-~]|%[0-9A-Fa-f]{2})*([?][!$-;=?-~]*)?$";
/// RFC 9110, section 8.3.1.
const FORMAT: &str = "^(json|yaml|opaque|opaque:TOKEN/TOKEN *(; *TOKEN=(TOKEN|\"[ !#-:<-\\[\\]-~]*\") *)*)$";
const TOKEN: &str = "[!#-&\\x27*+.^_`|~0-9A-Za-z-]+";

/// A function for each, as `schemars` wants them.
macro_rules! fields {
    ($($name:ident => $schema:expr;)*) => {
        $(pub(super) fn $name(_: &mut SchemaGenerator) -> Schema { $schema })*
    };
}

// What people write.
fields! {
    path => matching(ranges::PATH_BYTES, PATH, "write a path such as /describe, percent-encoded, without ? and #");
    path_and_query => matching(
        ranges::PATH_BYTES,
        PATH_AND_QUERY,
        "write a path such as /model, percent-encoded, with a query or without",
    );
    pointer => matching(
        ranges::POINTER_BYTES,
        "^(/([^~/]|~[01])*)+$",
        "write a JSON Pointer such as /metadata/version, with ~0 for ~ and ~1 for / within a key",
    );
    format => matching(
        ranges::FORMAT_BYTES,
        &FORMAT.replace("TOKEN", TOKEN),
        "write json, yaml, opaque or opaque:MEDIA/TYPE",
    );
    config_map_name => matching(253, SUBDOMAIN, "write the name of a ConfigMap: at most 253 of a-z, 0-9, - and .");
    config_map_key => matching(
        253,
        "^([-_a-zA-Z0-9]|[.][-_a-zA-Z0-9])[-._a-zA-Z0-9]*$",
        "write the key of a ConfigMap: at most 253 of a-z, A-Z, 0-9, -, . and _",
    );
    file_path => file_path_schema();
    api_version => matching(
        317,
        "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        "write GROUP/VERSION such as tidewait.dev/v1alpha1, or v1 for the core group",
    );
    kind => matching(63, "^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$", "write a kind as manifests do, such as NetworkModel");
    object_name => matching(
        253,
        "^[A-Za-z0-9]([-_.:A-Za-z0-9]*[A-Za-z0-9])?$",
        "write 1 to 253 of a-z, A-Z, 0-9, -, _, . and :, beginning and ending with a letter or digit",
    );
    model_field => model_field_schema();
    min_interval => duration(&ranges::MIN_INTERVAL);
    wake_spread => duration(&ranges::WAKE_SPREAD);
    interval => duration(&ranges::INTERVAL);
    wait_default => duration(&ranges::DEFAULT_WAIT);
    wait_max => duration(&ranges::MAX_WAIT);
    count => number(&ranges::COUNT);
    pointers => number(&ranges::POINTERS);
    history_entries => number(&ranges::HISTORY_ENTRIES);
    history_bytes => number(&ranges::HISTORY_BYTES);
    percent => number(&ranges::PERCENT);
    label_key => matching(317, LABEL_KEY, KEY_HINT);
    label_values => list(VALUES, &matching(63, LABEL_VALUE, VALUE_HINT));
    labels => labels_schema();
    subject => matching(
        "group:".len() + ACCESS_NAME_BYTES,
        &format!("^(authenticated|anonymous|(user|group):[-._:/@*A-Za-z0-9]{{1,{ACCESS_NAME_BYTES}}})$"),
        "write user:NAME, group:NAME, authenticated or anonymous; a name is of letters, digits and -._:/@, and * for any text",
    );
    verb => json_schema!({ "type": "string", "enum": ["get"] });
    relays => json_schema!({ "type": "string", "enum": ["open", "same", "none"] });
    part => part_schema();
    path_pattern => path_pattern_schema();
    endpoint => endpoint_schema();
    method => method_schema();
    exchange_time => duration(&ranges::EXCHANGE_TIME);
    lease => duration(&ranges::EXCHANGE_LEASE);
    attempts => number(&ranges::EXCHANGE_ATTEMPTS);
    hops => number(&ranges::EXCHANGE_HOPS);
    exchange_bytes => matching(
        16,
        "^0*([0-9]{1,9}|10[0-6][0-9]{7}|[0-9]{1,6}Ki|10[0-3][0-9]{4}Ki|[0-9]{1,3}Mi|10[01][0-9]Mi|102[0-4]Mi|[01]Gi)$",
        "write a number of bytes up to 1Gi, such as \"65536\", 64Ki or 8Mi",
    );
    topic_path => matching(
        ranges::PATH_BYTES,
        TOPIC_PATH,
        "write one path such as /chat, percent-encoded, without ?, #, { and }",
    );
    topic_messages => number(&ranges::TOPIC_MESSAGES);
    topic_bytes => matching(16, UP_TO_1_GI, "write a number of bytes from 1Ki to 1Gi, such as \"65536\", 64Ki or 4Mi");
    message_bytes => matching(16, UP_TO_256_KI, "write a number of bytes from 1 to 256Ki, such as \"1024\" or 16Ki");
    topic_time => duration(&ranges::TOPIC_TIME);
    topic_rate => number(&ranges::TOPIC_RATE);
    repeat => json_schema!({ "type": "string", "enum": ["idempotent", "always", "never"] });
    share => json_schema!({ "type": "string", "enum": ["none", "identicalGets"] });
    transport => json_schema!({ "type": "string", "enum": ["claims", "http1", "http2"] });
    backend => json_schema!({ "type": "string", "enum": ["memory", "nats"] });
    presence => json_schema!({ "type": "string", "enum": ["off", "count", "named"] });
    no_worker => json_schema!({ "type": "string", "enum": ["wait", "refuse"] });
    operator => json_schema!({ "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"] });
}

// What statuses say: bounded, since whoever writes a status may write any.
fields! {
    state_id => text(128);
    inputs => text(128);
    sentence => text(STATUS_TEXT);
    of_agent => text(STATUS_AGENT);
    operation_name => text(63);
    exchange_name => text(253);
    reported_path => text(ranges::PATH_BYTES);
    // No enumeration: replicas of a later version may have more to say.
    word => text(64);
    total => json_schema!({ "type": "integer", "format": "int64", "minimum": 0 });
    moment => json_schema!({ "type": "string", "format": "date-time", "maxLength": 40 });
}

/// Requirements of one selector, and values of one requirement: together they fit into the URL of a list.
pub(super) const REQUIREMENTS: usize = 16;
const VALUES: usize = 16;
const VALUE_HINT: &str = "write the value of a label: at most 63 of a-z, A-Z, 0-9, -, _ and .";
const KEY_HINT: &str = "write the key of a label, such as tier or example.org/tier";

fn path_pattern_schema() -> Schema {
    let hint =
        "write a path such as /start_work or /cameras/{key}/logs, with {key} at most once and as a whole segment";
    let segment = "([-A-Za-z0-9._~!$&\\x27()*+,;=:@%]+|[{]key[}])";
    let mut schema = matching(ranges::PATH_BYTES, &format!("^/({segment}(/{segment})*/?)?$"), hint);
    also(&mut schema, rule("self.indexOf('{key}') == self.lastIndexOf('{key}')", hint));
    schema
}

fn endpoint_schema() -> Schema {
    let mut schema =
        matching(ranges::PATH_BYTES, PATH, "write a path such as /exchange/cameras, percent-encoded, without ? and #");
    also(
        &mut schema,
        rule("!self.endsWith('/')", "write the path without a slash at its end, such as /exchange/cameras"),
    );
    schema
}

fn method_schema() -> Schema {
    let hint = "write a method such as GET or POST";
    let mut schema = matching(32, &format!("^{TOKEN}$"), hint);
    also(
        &mut schema,
        rule("!(self in ['CONNECT', 'TRACE'])", "an exchange takes neither CONNECT nor TRACE: leave it out"),
    );
    schema
}

fn labels_schema() -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": REQUIREMENTS,
        "additionalProperties": matching(63, LABEL_VALUE, VALUE_HINT),
        "x-kubernetes-validations": [
            rule(&format!("self.all(key, key.size() <= 317 && key.matches(r'{LABEL_KEY}'))"), KEY_HINT),
        ],
    })
}

fn part_schema() -> Schema {
    let hint = "write a JSON Pointer such as /shared or /nodes/{name}, with {name}, {node} or {pod} for the client's, \
                ~0 for ~ and ~1 for /";
    let mut schema = matching(ACCESS_POINTER_BYTES, "^/([^~{}]|~[01]|[{](name|node|pod)[}])*$", hint);
    // maxLength counts characters.
    let fits = format!("bytes(self).size() <= {ACCESS_POINTER_BYTES}");
    also(&mut schema, rule(&fits, &format!("write at most {ACCESS_POINTER_BYTES} bytes")));
    schema
}

fn file_path_schema() -> Schema {
    let hint = "write an absolute path such as /var/lib/models/network.json";
    let mut schema = matching(ranges::FILE_PATH_BYTES, "^/[^\\x00-\\x1f\\x7f]*$", hint);
    also(&mut schema, rule("!self.matches(r'(^|/)[.][.](/|$)')", "write the path without .."));
    schema
}

fn model_field_schema() -> Schema {
    let mut schema = matching(63, "^[A-Za-z][A-Za-z0-9]*$", "write a top-level field, such as spec or data");
    also(
        &mut schema,
        rule("self != 'metadata'", "metadata changes with every write to the object: name the field of the model"),
    );
    schema
}
