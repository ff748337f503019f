# Writes the keys and configuration files of a node into its folder; sourced, not run.
#
# Everybody who runs on the node's own side (the kubelet, the controllers, you) is the administrator: this node tests
# what runs in pods, whose service accounts have the rights that RBAC gives them.
# shellcheck shell=bash

write_config() {
    local config=$dir/etc
    mkdir -p -- "$config/cni" "$dir"/{bin,log,var-lib,var-log,sysctl}
    write_keys
    write_kubeconfig "$(openssl rand -hex 16)"
    write_containerd
    write_network
    write_kubelet
    write_kube_proxy
    write_dns
}

# The key of service accounts' tokens, and the certificate by which the kubelet knows the API server (for logs and exec).
write_keys() {
    local new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365)
    # The API server reads this form of an EC key, and not PKCS #8.
    openssl ecparam -genkey -name prime256v1 -noout -out "$config/service-account.key"
    openssl req -x509 "${new[@]}" -subj /CN=tidewait-test-node -keyout "$config/ca.key" -out "$config/ca.crt" 2>/dev/null
    openssl req -x509 "${new[@]}" -subj /CN=kube-apiserver -CA "$config/ca.crt" -CAkey "$config/ca.key" \
        -addext extendedKeyUsage=clientAuth -keyout "$config/kubelet-client.key" -out "$config/kubelet-client.crt" \
        2>/dev/null
}

# write_kubeconfig TOKEN
write_kubeconfig() {
    printf '%s,admin,1,"system:masters"\n' "$1" >"$config/tokens.csv"
    cat >"$dir/kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: node
contexts:
- name: node
  context: {cluster: node, user: admin}
clusters:
- name: node
  cluster: {server: "https://$node_ip:6443", certificate-authority: "$config/certificates/apiserver.crt"}
users:
- name: admin
  user: {token: "$1"}
END
}

write_containerd() {
    cat >"$config/containerd.toml" <<END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# It would make /opt/containerd.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[plugins."io.containerd.grpc.v1.cri"]
  # Lowering it needs CAP_SYS_RESOURCE, and without that every sandbox fails.
  restrict_oom_score_adj = true
  # A loaded profile would stay in the kernel.
  disable_apparmor = true
  sandbox_image = "localhost/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$(cni_plugins)"
    conf_dir = "$config/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
END
}

# ptp and not bridge: all traffic between pods is then routed, so that Services work without the module br_netfilter.
write_network() {
    cat >"$config/cni/node.conflist" <<END
{
  "cniVersion": "0.4.0",
  "name": "node",
  "plugins": [
    {
      "type": "ptp",
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
END
}

write_kubelet() {
    cat >"$config/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
# Pods of two nodes on one machine are apart, and what is left of a node's can be told and removed.
cgroupRoot: /$instance
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
podCIDR: $pods
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
resolvConf: $config/resolv.conf
oomScoreAdj: 0
# The machine's disk is not the node's: a full one must not evict pods, nor images that no pod has used yet.
evictionHard: {memory.available: 50Mi}
imageGCHighThresholdPercent: 100
# Who has the API server's certificate may do everything, and nobody else anything.
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: $config/ca.crt}
authorization: {mode: AlwaysAllow}
END
}

write_kube_proxy() {
    cat >"$config/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: node1
clusterCIDR: $pods
# A second by default, which spares big clusters work and here only makes whoever waits for a Service wait.
iptables: {minSyncPeriod: 50ms}
clientConnection: {kubeconfig: $dir/kubeconfig}
oomScoreAdj: 0
# The table's size is the machine's, not this network's.
conntrack: {maxPerCore: 0}
END
}

# CoreDNS answers for Services and pods, at the node's address and, as in other clusters, at the Service kube-dns. Other
# names have no answer: there is no way out of the node.
write_dns() {
    printf 'nameserver %s\nsearch svc.cluster.local cluster.local\noptions ndots:3\n' "$node_ip" >"$config/resolv.conf"
    cat >"$config/Corefile" <<END
. {
    bind $node_ip
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $dir/kubeconfig
    }
}
END
    cat >"$config/dns.yaml" <<END
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: $dns_ip
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [$node_ip], conditions: {ready: true}}]
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
END
}
