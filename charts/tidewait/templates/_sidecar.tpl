{{/*
The container, once for all the ways in which it comes into a pod.

The named templates for other charts, which have this one as a dependency called tidewait, with `mode: template`:

    initContainers:
      {{- include "tidewait.sidecar" (list .Subcharts.tidewait (dict "appPort" 8080)) | nindent 6 }}
    volumes:
      {{- include "tidewait.volumes" .Subcharts.tidewait | nindent 6 }}

Beside appPort: port, adminPort, operations (a label selector), gracePeriodSeconds (the pod's, if it is not 30).
*/}}
{{- define "tidewait.sidecar" -}}
{{- $root := index . 0 }}
{{- $given := index . 1 }}
{{- $grace := int ($given.gracePeriodSeconds | default 30) }}
{{- if hasKey $given "gracePeriodSeconds" }}{{ $grace = int $given.gracePeriodSeconds }}{{ end }}
{{- $port := $given.port | default $root.Values.ports.describe | int }}
{{- $admin := $given.adminPort | default $root.Values.ports.admin | int }}
{{- $selector := $given.operations | default $root.Values.operations }}
{{- $appPort := required "include \"tidewait.sidecar\" needs appPort: (dict \"appPort\" 8080)" $given.appPort | int }}
{{- $container := dict "root" $root "sidecar" true "port" $port "admin" $admin
  "listen" (printf "%s:%d" $root.Values.address $port)
  "adminListen" (printf "%s:%d" $root.Values.address $admin)
  "drainAt" (printf "127.0.0.1:%d" $admin)
  "upstream" (printf "http://127.0.0.1:%d" $appPort)
  "operations" (printf "$(POD_NAMESPACE)%s" (ternary "" (printf "/%s" $selector) (empty $selector)))
  "grace" (printf "%ds" (include "tidewait.drain" (list $root $grace) | int))
  "atLeast" (printf "%ds" (min $root.Values.drainAtLeastSeconds (include "tidewait.drain" (list $root $grace) | int)))
  "logLevel" $root.Values.log.level }}
{{- list (include "tidewait.container" $container | fromYaml) | toYaml }}
{{- end }}

{{- define "tidewait.container" -}}
{{- $values := .root.Values -}}
{{- $scheme := ternary ", scheme: HTTPS" "" $values.tls.admin -}}
{{- if eq (int $values.ports.describe) (int $values.ports.admin) }}{{ fail (printf "ports.describe and ports.admin are both %d: give each its own" (int $values.ports.admin)) }}{{ end -}}
name: tidewait
image: {{ include "tidewait.image" .root }}
imagePullPolicy: {{ $values.image.pullPolicy }}
{{- if .sidecar }}
restartPolicy: Always
{{- end }}
args:
  - serve
  - {{ printf "--listen=%s" .listen | include "tidewait.text" }}
  - --allow-anonymous={{ $values.access.anonymous }}
  {{- include "tidewait.access" .root | trim | nindent 2 }}
  - {{ printf "--admin=%s" .adminListen | include "tidewait.text" }}
  {{- if $values.access.admin }}
  - --admin-access
  {{- end }}
  {{- if $values.tls.admin }}
  - --admin-tls-certificate=/etc/tidewait/tls/tls.crt
  - --admin-tls-key=/etc/tidewait/tls/tls.key
  {{- end }}
  - {{ printf "--upstream=%s" .upstream | include "tidewait.text" }}
  {{- if ne $values.upstreamProtocol "http1" }}
  - --upstream-protocol={{ $values.upstreamProtocol }}
  {{- end }}
  - {{ printf "--operations=%s" .operations | include "tidewait.text" }}
  - --replica=$(POD_NAME)
  - --replica-uid=$(POD_UID)
  - {{ printf "--grace=%s" .grace | include "tidewait.text" }}
  - --max-connections={{ int64 $values.sizing.clients }}
  - --log-format={{ $values.log.format }}
  - {{ printf "--log-level=%s" .logLevel | include "tidewait.text" }}
  {{- if $values.log.access }}
  - --access-log
  {{- end }}
  {{- if $values.stateDir.enabled }}
  - --state-dir=/var/lib/tidewait
  {{- end }}
  {{- with $values.nats }}
  {{- if .servers }}
  - {{ printf "--nats=%s" (join "," .servers) | quote }}
  {{- if .credentials.secretName }}
  - --nats-credentials=/etc/tidewait/nats/credentials
  {{- end }}
  {{- if or .ca.configMapName .ca.secretName }}
  - --nats-ca=/etc/tidewait/nats/ca.crt
  {{- end }}
  - --nats-replicas={{ int .replicas }}
  {{- end }}
  {{- end }}
  {{- with $values.trustedProxies }}
  - --trusted-proxies={{ join "," . }}
  {{- end }}
  {{- range $values.extraArgs }}
  - {{ . | quote }}
  {{- end }}
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - name: POD_UID
    valueFrom: {fieldRef: {fieldPath: metadata.uid}}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: describe
    containerPort: {{ .port }}
  - name: tidewait-admin
    containerPort: {{ .admin }}
# On liveness: a model that is not there yet must not keep the app from starting.
startupProbe:
  httpGet: {path: /livez, port: tidewait-admin{{ $scheme }}}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: tidewait-admin{{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
# On the models: a pod takes no traffic before it can answer.
readinessProbe:
  httpGet: {path: /readyz, port: tidewait-admin{{ $scheme }}}
  periodSeconds: 2
  timeoutSeconds: 2
lifecycle:
  preStop:
    exec:
      command:
        - /tidewait
        - drain
        - {{ printf "--admin=%s" .drainAt | include "tidewait.text" }}
        {{- if $values.tls.admin }}
        - --admin-ca=/etc/tidewait/tls/tls.crt
        {{- end }}
        # Until those who send clients here have heard that the pod ends.
        - {{ printf "--at-least=%s" .atLeast | include "tidewait.text" }}
resources:
  {{- include "tidewait.resources" .root | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
  - name: tidewait-token
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  {{- if $values.stateDir.enabled }}
  - name: tidewait-state
    mountPath: /var/lib/tidewait
  {{- end }}
  {{- if include "tidewait.access.sources" .root | trim }}
  - name: tidewait-access
    mountPath: /etc/tidewait/access
    readOnly: true
  {{- end }}
  {{- if $values.tls.secretName }}
  - name: tidewait-tls
    mountPath: /etc/tidewait/tls
    readOnly: true
  {{- end }}
  {{- if include "tidewait.nats.sources" .root | trim }}
  - name: tidewait-nats
    mountPath: /etc/tidewait/nats
    readOnly: true
  {{- end }}
{{- end }}

{{/* Arguments about who clients are and what they may; of the root. */}}
{{- define "tidewait.access" -}}
{{- with .Values.access }}
{{- if include "tidewait.config" $ }}
- --config=/etc/tidewait/access/serve.yaml
{{- end }}
{{- if .tokens.secretName }}
- --access-tokens=/etc/tidewait/access/tokens
{{- end }}
{{- if .users.secretName }}
- --access-users=/etc/tidewait/access/users
{{- end }}
{{- with .kubernetes.audiences }}
- {{ printf "--access-kubernetes=%s" (join "," .) | quote }}
{{- end }}
{{- if ne .authorization "rules" }}
- --access-authorization={{ .authorization }}
{{- end }}
{{- if .clearCredentials }}
- --allow-clear-credentials
{{- end }}
{{- with .forwardUser }}
- {{ printf "--forward-user=%s" . }}
{{- end }}
{{- with .forwardGroups }}
- {{ printf "--forward-groups=%s" . }}
{{- end }}
{{- end }}
{{- with .Values.tls }}
{{- if .secretName }}
- --tls-certificate=/etc/tidewait/tls/tls.crt
- --tls-key=/etc/tidewait/tls/tls.key
{{- end }}
{{- if .clientCaSecretName }}
- --tls-client-ca=/etc/tidewait/tls/client-ca.crt
- --tls-client-auth={{ .clientAuth }}
- --access-certificate-names={{ join "," $.Values.access.certificateNames }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is in the volume tidewait-nats; empty: there is none. */}}
{{- define "tidewait.nats.sources" -}}
{{- with .Values.nats }}
{{- if .credentials.secretName }}
- secret: {name: {{ .credentials.secretName | quote }}, items: [{key: {{ .credentials.key | quote }}, path: credentials}]}
{{- end }}
{{- if .ca.secretName }}
- secret: {name: {{ .ca.secretName | quote }}, items: [{key: {{ .ca.key | quote }}, path: ca.crt}]}
{{- else if .ca.configMapName }}
- configMap: {name: {{ .ca.configMapName | quote }}, items: [{key: {{ .ca.key | quote }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end }}

{{/* Seconds of a drain within a grace period: half of it is for the app, and for what it still answers. */}}
{{- define "tidewait.drain" -}}
{{- $root := index . 0 -}}
{{ min $root.Values.drainSeconds (div (max 0 (sub (index . 1) 2)) 2) }}
{{- end }}

{{/* A token of its own: pods that need none for their app often have none (automountServiceAccountToken: false). */}}
{{- define "tidewait.volumes" -}}
- name: tidewait-token
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- if .Values.stateDir.enabled }}
- name: tidewait-state
  emptyDir: {sizeLimit: {{ .Values.stateDir.sizeLimit }}}
{{- end }}
{{- /* No Secret is optional: without it the kubelet says so and does not start the pod. */}}
{{- with include "tidewait.access.sources" . | trim }}
- name: tidewait-access
  projected:
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with include "tidewait.nats.sources" . | trim }}
- name: tidewait-nats
  projected:
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with .Values.tls }}
{{- if .secretName }}
- name: tidewait-tls
  projected:
    sources:
      - secret: {name: {{ .secretName | quote }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
      {{- if .clientCaSecretName }}
      - secret: {name: {{ .clientCaSecretName | quote }}, items: [{key: ca.crt, path: client-ca.crt}]}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "--flag=CEL:expression" is the expression '--flag=' + (expression); all else is text. */}}
{{- define "tidewait.text" -}}
{{- if contains "=CEL:" . }}
{{- $parts := splitn "=CEL:" 2 . }}
{{- printf "CEL:'%s=' + (%s)" $parts._0 $parts._1 | quote }}
{{- else }}{{ . | quote }}{{ end }}
{{- end }}
