{{/* Names and labels. */}}

{{- define "tidewait.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tidewait.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidewait.labels" -}}
{{ include "tidewait.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tidewait.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* What the sizing says, in whole mebibytes. */}}
{{- define "tidewait.memory" -}}
{{- with .Values.sizing -}}
{{ add .baseMebibytes (div (add (mul .clients .kibibytesPerClient) 1023) 1024) }}Mi
{{- end }}
{{- end }}

{{/* Resources: memory as sized, unless it is named. */}}
{{- define "tidewait.resources" -}}
{{- $memory := dict "memory" (include "tidewait.memory" .) }}
{{- $sized := dict "requests" $memory "limits" (deepCopy $memory) }}
{{- toYaml (mergeOverwrite $sized (deepCopy .Values.resources)) }}
{{- end }}

{{/* The Service that clients poll. */}}
{{- define "tidewait.serviceName" -}}
{{ .Values.service.name | default (include "tidewait.name" .) }}
{{- end }}

{{/* Not empty, if an object belongs to this release: helm writes that into its annotations. */}}
{{- define "tidewait.ours" -}}
{{- $root := index . 0 }}
{{- $annotations := (index . 1).metadata.annotations | default dict }}
{{- if and (eq (get $annotations "meta.helm.sh/release-name") $root.Release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") $root.Release.Namespace) }}true{{ end }}
{{- end }}

{{- define "tidewait.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (ternary (include "tidewait.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{/* The service account of the proxy, or of the agent. */}}
{{- define "tidewait.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "tidewait.serviceAccountName" . }}
  labels:
    {{- include "tidewait.labels" . | nindent 4 }}
  {{- with .Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{/* Labels of the pods that clients poll, or of the agent's. */}}
{{- define "tidewait.pods" -}}
{{- if has .Values.mode (list "proxy" "agent") }}{{ include "tidewait.selectorLabels" . }}
{{- else if eq .Values.mode "inject" }}{{ toYaml (merge (dict "tidewait.dev/inject" "true") .Values.selector) }}
{{- else }}{{ required "mode template does not know which pods have the sidecar: set selector, such as --set selector.app=shop" (.Values.selector | default "") | toYaml }}
{{- end }}
{{- end }}

{{/* Whether there is a Service for polls; fails, with the remedy, where the argument needs one that is not there. */}}
{{- define "tidewait.hasService" -}}
{{- if and (ne .Values.mode "agent") (or (eq .Values.mode "proxy") .Values.service.enabled) }}true{{ end }}
{{- end }}

{{- define "tidewait.needsService" -}}
{{- if eq (index . 0).Values.mode "agent" }}{{ fail (include "tidewait.agent.notOurs" (index . 1)) }}{{ end }}
{{- if not (include "tidewait.hasService" (index . 0)) }}{{ fail (printf "%s leads to the Service for the polls: set service.enabled=true too" (index . 1)) }}{{ end }}
{{- end }}

{{/* How long those in front must wait. */}}
{{- define "tidewait.frontSeconds" -}}
{{ add .Values.longestWaitSeconds 20 }}
{{- end }}

{{/* metadata of an object; the argument: root, then a suffix of the name. */}}
{{- define "tidewait.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "tidewait.name" $root }}{{ index . 1 }}
labels:
  {{- include "tidewait.labels" $root | nindent 2 }}
{{- end }}

{{/* Subjects of a binding: the service accounts that a sidecar or proxy has. */}}
{{- define "tidewait.accounts" -}}
{{- range .Values.rbac.serviceAccounts }}
- kind: ServiceAccount
  name: {{ . }}
  namespace: {{ $.Release.Namespace }}
{{- else }}
{{- if eq .Values.mode "proxy" }}
- kind: ServiceAccount
  name: {{ include "tidewait.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- else }}
- apiGroup: rbac.authorization.k8s.io
  kind: Group
  name: system:serviceaccounts:{{ .Release.Namespace }}
{{- end }}
{{- end }}
{{- end }}

{{/* What clients speak with the port for the polls; also the name of the Service's port. */}}
{{- define "tidewait.scheme" -}}
{{ ternary "http" "https" (empty .Values.tls.secretName) }}
{{- end }}

{{/* Whether helm test has a pod: it has no certificate of its own. */}}
{{- define "tidewait.hasTest" -}}
{{- if and .Values.tests.enabled (include "tidewait.hasService" .) (ne .Values.tls.clientAuth "required") }}true{{ end }}
{{- end }}
