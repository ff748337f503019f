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
