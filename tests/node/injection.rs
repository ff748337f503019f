//! The sidecar comes into labelled pods, whatever else is in them, and what cannot be is said in one line.

use crate::chart::{APP, MODEL, POD, Space};
use crate::node::until;

#[tokio::test]
async fn a_labelled_deployment_answers_polls_and_the_app_everything_else() {
    let space = Space::with(&["--set=service.enabled=true,selector.app=shop"]).await;
    space.apply(MODEL).await;
    let pod = space.deploy(APP).await;
    let address = space.address(&pod).await;
    let service = format!("http://tidewait.{}.svc.cluster.local", space.name);
    for base in [format!("http://{address}:8480"), service] {
        space.answers(&format!("{base}/describe/zone-a"), "200 {\"mtu\":1450}").await;
        space.answers(&format!("{base}/anything/else"), &format!("200 {pod}")).await;
    }
    space.kubectl(&["patch", "netm/zone-a", "--type=merge", "--patch={\"spec\":{\"mtu\":1400}}"]).await;
    space.answers(&format!("http://{address}:8480/describe/zone-a"), "200 {\"mtu\":1400}").await;
    // The report of the replica has the name of the pod and goes with it.
    let owner = "{.items[*].metadata.ownerReferences[*].name}";
    let ask = async || space.field("drep", owner).await;
    until("the pod reports", ask, |owner| *owner == pod).await;
}

#[tokio::test]
async fn annotations_say_where_the_app_is_and_what_is_served() {
    let space = Space::with(&[]).await;
    space.apply(MODEL).await;
    space
        .apply(&MODEL.replace("zone-a", "zone-b").replace("{name: zone-b}", "{name: zone-b, labels: {tier: b}}"))
        .await;
    let annotations = "annotations: {tidewait.dev/port: \"9000\", tidewait.dev/admin-port: \"9001\", \
                       tidewait.dev/app-port: \"8090\", tidewait.dev/operations: \"tier in (b)\", \
                       tidewait.dev/log-level: debug}";
    let app =
        APP.replace("    metadata:\n", &format!("    metadata:\n      {annotations}\n")).replace(":8080", ":8090");
    let pod = space.deploy(&app).await;
    let base = format!("http://{}:9000", space.address(&pod).await);
    space.answers(&format!("{base}/describe/zone-b"), "200 {\"mtu\":1450}").await;
    // An operation without the label is not this sidecar's: the path is the app's.
    space.answers(&format!("{base}/describe/zone-a"), &format!("200 {pod}")).await;
    space.answers(&format!("http://{}:9001/livez", space.address(&pod).await), "200 ok").await;
    assert!(space.kubectl(&["logs", &pod, "--container=tidewait"]).await.contains("\"level\":\"DEBUG\""));
}

#[tokio::test]
async fn bad_annotations_are_refused_in_one_line_when_a_workload_is_applied() {
    let space = Space::with(&[]).await;
    let with = |annotation: &str| {
        APP.replace("    metadata:\n", &format!("    metadata:\n      annotations: {{tidewait.dev/{annotation}}}\n"))
    };
    let cases = [
        ("app-port: 80a", "annotation tidewait.dev/app-port must be a port, 1 to 65535, not \"80a\""),
        ("app-port: \"8\\n0\"", "annotation tidewait.dev/app-port must be a port, 1 to 65535, not \"8 0\""),
        ("port: \"65536\"", "annotation tidewait.dev/port must be a port, 1 to 65535, not \"65536\""),
        ("port: \"8080\"", "port 8080 is that of the app and of the sidecar: set the annotation tidewait.dev/app-port"),
        ("admin-port: \"8080\"", "port 8080 is that of the app and of the admin port of the sidecar: set"),
        ("port: \"8481\"", "the annotations tidewait.dev/port and tidewait.dev/admin-port must not both be 8481"),
        ("operations: \"a b\"", "annotation tidewait.dev/operations must be a label selector such as tier=edge, not"),
        ("log-level: loud", "annotation tidewait.dev/log-level must be off, error, warn, info, debug, trace, or"),
        ("appport: \"80\"", "annotation tidewait.dev/appport is not known: it must be one of tidewait.dev/app-port, "),
    ];
    for (annotation, message) in cases {
        let output_text = space.refused(&with(annotation)).await;
        assert!(
            output_text.contains(&format!("denied request: {message}")) && output_text.trim_end().lines().count() == 1,
            "{output_text}"
        );
    }
    let two = space.refused(&with("port: none, tidewait.dev/app-port: none")).await;
    assert!(
        two.contains("not \"none\"; annotation tidewait.dev/app-port must be a port, 1 to 65535, not \"none\""),
        "{two}"
    );
    let label = space.refused(&APP.replace("inject: \"true\"", "inject: \"yes\"")).await;
    assert!(label.contains("label tidewait.dev/inject must be \"true\" or \"false\", not \"yes\""), "{label}");
    // Every kind that makes pods, and pods.
    let bad = "metadata: {labels: {app: x, tidewait.dev/inject: \"true\"}, annotations: {tidewait.dev/port: x}}";
    let spec = "spec: {restartPolicy: Never, containers: [{name: app, image: x}]}";
    let template = format!("template: {{{bad}, {spec}}}");
    let select = "selector: {matchLabels: {app: x}}";
    let always = template.replace("restartPolicy: Never, ", "");
    let kinds = [
        ("apps/v1", "Deployment", format!("{select}, {always}")),
        ("apps/v1", "StatefulSet", format!("{select}, {always}")),
        ("apps/v1", "DaemonSet", format!("{select}, {always}")),
        ("apps/v1", "ReplicaSet", format!("{select}, {always}")),
        ("v1", "ReplicationController", always.clone()),
        ("batch/v1", "Job", template.clone()),
        ("batch/v1", "CronJob", format!("schedule: '0 0 * * *', jobTemplate: {{spec: {{{template}}}}}")),
    ];
    for (version, kind, spec) in kinds {
        let text = format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: x}}, spec: {{{spec}}}}}");
        let output_text = space.refused(&text).await;
        assert!(
            output_text.contains("tidewait.dev/port must be a port, 1 to 65535, not \"x\""),
            "{kind}: {output_text}"
        );
    }
    let pod = POD.replace("metadata: {name: NAME,", "metadata: {name: x, annotations: {tidewait.dev/port: x},");
    assert!(space.refused(&pod).await.contains("tidewait.dev/port must be a port"), "a pod");
}

#[tokio::test]
async fn ports_and_names_of_the_sidecar_that_a_container_has_are_refused() {
    let space = Space::with(&[]).await;
    for (port, which, annotation) in
        [("8480", "that of the sidecar", "port"), ("8481", "the admin port of the sidecar", "admin-port")]
    {
        let more = format!("ports: [{{containerPort: 8080}}, {{containerPort: {port}}}]");
        let output_text = space.refused(&APP.replace("ports: [{containerPort: 8080}]", &more)).await;
        let message = format!(
            "container app has port {port}, which is {which}: set the annotation tidewait.dev/{annotation} to another"
        );
        assert!(output_text.contains(&message), "{output_text}");
    }
    let own = "a container is called tidewait, which is the name of the sidecar: give it another name";
    assert!(space.refused(&APP.replace("name: app,", "name: tidewait,")).await.contains(own));
    let init = "initContainers: [{name: tidewait, image: localhost/app:1}]\n      containers:";
    assert!(space.refused(&APP.replace("containers:", init)).await.contains(own));
    // One that is a sidecar is theirs, as the named template makes it.
    let sidecar = "initContainers: [{name: tidewait, image: localhost/app:1, restartPolicy: Always}]\n  containers:";
    let made = space.create_dry(&POD.replace("NAME", "own").replace("containers:", sidecar)).await;
    assert!(!made.contains("tidewait-admin") && made.contains("name: tidewait\n"), "{made}");
}

#[tokio::test]
async fn what_runs_already_can_be_changed_and_deleted_whatever_its_annotations() {
    let space = Space::empty().await;
    let bad = APP.replace("    metadata:\n", "    metadata:\n      annotations: {tidewait.dev/port: none}\n");
    space.apply(&bad).await;
    space.install(&[]).await;
    let probe =
        POD.replace("NAME", "probe").replace("metadata: {", "metadata: {annotations: {tidewait.dev/port: none}, ");
    let refused = async || space.create_dry(&probe).await;
    until("bad annotations are refused", refused, |answer| answer.contains("must be a port")).await;
    space.kubectl(&["label", "deployment/shop", "team=edge"]).await;
    space.kubectl(&["scale", "deployment/shop", "--replicas=0"]).await;
    space.kubectl(&["delete", "deployment/shop", "--timeout=60s"]).await;
}
