{{/* What the agent on each node needs (mode agent). The argument of each is the root. */}}

{{/* Values that go together, or not. */}}
{{- define "tidewait.agent.checks" -}}
{{- $agent := .Values.agent }}
{{- $more := join " " $agent.extraArgs }}
{{- if not $agent.endpoints }}
{{- fail "mode agent polls a server: set agent.endpoints to its URLs, such as --set agent.endpoints={https://tidewait.shop.svc:8480}" }}
{{- end }}
{{- if not (or $agent.outputs (regexMatch "--out(-dir)?( |=|$)" $more)) }}
{{- fail "mode agent keeps files: name them in agent.outputs, such as --set agent.outputs={network.json}" }}
{{- end }}
{{- if and $agent.verify (not $agent.exec) }}
{{- fail "agent.verify is of no use without agent.exec: set that too, or agent.check, which looks at a state before it is put out" }}
{{- end }}
{{- if and $agent.ca.secretName $agent.ca.configMapName }}
{{- fail "agent.ca is a key of a Secret or of a ConfigMap: set either secretName or configMapName" }}
{{- end }}
{{- range $agent.endpoints }}
{{- $isClear := and (hasPrefix "http://" .) (not (regexMatch "^http://(localhost|127\\.[0-9.]+|\\[::1\\])(:|/|$)" .)) }}
{{- if and $isClear $agent.token.audience (not (contains "--allow-clear-credentials" $more)) }}
{{- fail (printf "agent.endpoints has %s, and the agent's token could be read on the way: write https://, or set agent.token.audience=\"\" if that server asks for none, or add --allow-clear-credentials to agent.extraArgs where something else protects it, such as a service mesh" .) }}
{{- end }}
{{- end }}
{{- $notOurs := dict "service.enabled" .Values.service.enabled "ingress.enabled" .Values.ingress.enabled "httpRoute.enabled" .Values.httpRoute.enabled "autoscaling.enabled" .Values.autoscaling.enabled "tls.secretName" .Values.tls.secretName "tls.admin" .Values.tls.admin "access.admin" .Values.access.admin "nats.servers" .Values.nats.servers }}
{{- range $name, $value := $notOurs }}
{{- if $value }}
{{- fail (include "tidewait.agent.notOurs" $name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tidewait.agent.notOurs" -}}
{{ printf "%s is about a server, and mode agent makes none: leave it out, or install the server as another release" . }}
{{- end }}

{{/* A file of agent.outputs below the folder of the host: [POINTER=]NAME. */}}
{{- define "tidewait.agent.output" -}}
{{- $folder := index . 0 }}
{{- $parts := regexFindAll "[^=]*$" (index . 1) 1 }}
{{- $name := first $parts }}
{{- printf "%s%s/%s" (trimSuffix $name (index . 1)) $folder $name }}
{{- end }}

{{/* Alerts about agents: conditions are those of `tidewait agent status`, in its words. */}}
{{- define "tidewait.agent.rules" -}}
{{- $of := printf "namespace=%q" .Release.Namespace }}
- alert: TidewaitAgentOutputNotWhole
  expr: max by (namespace, pod) (tidewait_agent_output_whole{ {{- $of -}} }) == 0
  for: 5m
  labels: {severity: critical}
  annotations:
    {{- include "tidewait.runbook" (list . "TidewaitAgentOutputNotWhole") | nindent 4 }}
    summary: {{ `The agent {{ $labels.pod }} has no whole output` | quote }}
    description: Nothing was held yet, or the output cannot be put right. GET /readyz on its admin port says why.
- alert: TidewaitAgentFailed
  expr: max by (namespace, pod) (tidewait_agent_fault{ {{- $of -}} , fault="failed"}) == 1 and max by (namespace, pod) (tidewait_agent_output_whole{ {{- $of -}} }) == 1
  for: 5m
  labels: {severity: critical}
  annotations:
    {{- include "tidewait.runbook" (list . "TidewaitAgentFailed") | nindent 4 }}
    summary: {{ `The commands of the agent {{ $labels.pod }} fail for the state that it holds` | quote }}
    description: The files are right, and what should follow from them is not. They are run again each minute.
- alert: TidewaitAgentRejects
  expr: max by (namespace, pod) (tidewait_agent_fault{ {{- $of -}} , fault="rejected"}) == 1
  for: 5m
  labels: {severity: warning}
  annotations:
    {{- include "tidewait.runbook" (list . "TidewaitAgentRejects") | nindent 4 }}
    summary: {{ `The agent {{ $labels.pod }} rejects the current state` | quote }}
    description: It keeps the last good one. GET /readyz on its admin port says why, and so does /agents of the server.
- alert: TidewaitAgentLags
  expr: max by (namespace, pod) (tidewait_agent_lag_seconds{ {{- $of -}} }) > {{ .Values.prometheusRule.unconvergedSeconds }} unless max by (namespace, pod) (tidewait_agent_fault{ {{- $of -}} , fault="rejected"}) == 1
  labels: {severity: warning}
  annotations:
    {{- include "tidewait.runbook" (list . "TidewaitAgentLags") | nindent 4 }}
    summary: {{ `The agent {{ $labels.pod }} has not applied a newer state for {{ $value | humanizeDuration }}` | quote }}
    description: A command takes long or asks for further attempts, or the machine cannot write. GET /state on its admin port says why.
- alert: TidewaitAgentWithoutServer
  expr: max by (namespace, pod) (tidewait_agent_fault{ {{- $of -}} , fault=~"stale|denied"}) == 1
  for: {{ .Values.prometheusRule.staleSeconds }}s
  labels: {severity: warning}
  annotations:
    {{- include "tidewait.runbook" (list . "TidewaitAgentWithoutServer") | nindent 4 }}
    summary: {{ `No state comes to the agent {{ $labels.pod }}` | quote }}
    description: Its servers are not reached, or refuse it. It keeps the last good output. GET /readyz on its admin port says why.
{{- end }}

{{/* The annotation that leads to the section of an alert; the argument: the root, and the alert's name. */}}
{{- define "tidewait.runbook" -}}
runbook_url: {{ printf "%s#%s" (index . 0).Values.prometheusRule.runbooks (index . 1 | lower) | quote }}
{{- end }}
