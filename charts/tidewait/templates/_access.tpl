{{/* What is in the volume tidewait-access, and the configuration file in it. */}}

{{/* Where a file of an issuer lies in that volume, named after what it comes from: a container that is restarted reads the
     configuration of now, and must not find the keys of one issuer where those of another were. */}}
{{- define "tidewait.access.path" -}}
{{ if .secretName }}secret/{{ .secretName }}{{ else }}configmap/{{ .configMapName }}{{ end }}/{{ .key }}
{{- end }}

{{/* The sources of the volume; empty: there is none. */}}
{{- define "tidewait.access.sources" -}}
{{- if include "tidewait.config" . }}
- configMap: {name: {{ include "tidewait.configName" . }}, items: [{key: serve.yaml, path: serve.yaml}]}
{{- end }}
{{- range $path, $from := dict "tokens" .Values.access.tokens "users" .Values.access.users }}
{{- if $from.secretName }}
- secret: {name: {{ $from.secretName | quote }}, items: [{key: {{ $from.key | quote }}, path: {{ $path }}}]}
{{- end }}
{{- end }}
{{- $files := dict }}
{{- range .Values.access.issuers }}
{{- range list .ca .keys }}
{{- with . }}{{ $_ := set $files (include "tidewait.access.path" .) . }}{{ end }}
{{- end }}
{{- end }}
{{- range $path, $from := $files }}
{{- $items := list (dict "key" $from.key "path" $path) | toJson }}
{{- if $from.secretName }}
- secret: {name: {{ $from.secretName | quote }}, items: {{ $items }}}
{{- else }}
- configMap: {name: {{ $from.configMapName | quote }}, items: {{ $items }}}
{{- end }}
{{- end }}
{{- end }}

{{/* The configuration file: what has no flag. Empty: there is none. */}}
{{- define "tidewait.config" -}}
{{- $access := dict }}
{{- range .Values.access.issuers }}
{{- $issuer := deepCopy . }}
{{- range $field := list "ca" "keys" }}
{{- with get $issuer $field }}
{{- $_ := set $issuer $field (printf "/etc/tidewait/access/%s" (include "tidewait.access.path" .)) }}
{{- end }}
{{- end }}
{{- $_ := set $access "issuers" (append ($access.issuers | default list) $issuer) }}
{{- end }}
{{- with .Values.access.rules }}{{ $_ := set $access "rules" . }}{{ end }}
{{- $config := dict }}
{{- with $access }}{{ $_ := set $config "access" . }}{{ end }}
{{- with .Values.exchanges }}{{ $_ := set $config "exchanges" . }}{{ end }}
{{- with .Values.topics }}{{ $_ := set $config "topics" . }}{{ end }}
{{- with $config }}
{{- merge (dict "apiVersion" "tidewait.dev/v1alpha1" "kind" "ServeConfig") . | toYaml }}
{{- end }}
{{- end }}

{{- define "tidewait.configName" -}}
{{ include "tidewait.name" . }}-config
{{- end }}
