{{/*
Text of the policies.

A value as a CEL expression. "CEL:..." is an expression already. Literals of one type would be wanted within a map or a
list, hence dyn.
*/}}
{{- define "tidewait.cel" -}}
{{- if kindIs "map" . -}}
{ {{- $map := . }}{{ range $i, $key := keys . | sortAlpha }}{{ if $i }}, {{ end }}{{ $key | quote }}: dyn({{ include "tidewait.cel" (get $map $key) }}){{ end -}} }
{{- else if kindIs "slice" . -}}
[{{ range $i, $value := . }}{{ if $i }}, {{ end }}dyn({{ include "tidewait.cel" $value }}){{ end }}]
{{- else if and (kindIs "string" .) (hasPrefix "CEL:" .) -}}
{{ trimPrefix "CEL:" . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ toRawJson . }}
{{- end -}}
{{- end }}

{{/* Ports of a pod, as CEL; the argument is the pod. Wrong annotations count as absent: they are refused elsewhere. */}}
{{- define "tidewait.cel.portVariables" -}}
{{- $ports := dict "port" (int .root.Values.ports.describe) "admin-port" (int .root.Values.ports.admin) }}
- name: annotations
  expression: "{{ .pod }}.?metadata.?annotations.orValue({})"
- name: badPorts
  expression: >-
    ['tidewait.dev/port', 'tidewait.dev/admin-port', 'tidewait.dev/app-port'].filter(k, k in variables.annotations &&
    !(string(variables.annotations[k]).matches('^[1-9][0-9]{0,4}$') && int(string(variables.annotations[k])) <= 65535))
{{- range $name, $default := $ports }}
- name: {{ $name | replace "admin-port" "adminPort" }}
  expression: >-
    'tidewait.dev/{{ $name }}' in variables.annotations && !('tidewait.dev/{{ $name }}' in variables.badPorts)
    ? int(string(variables.annotations['tidewait.dev/{{ $name }}'])) : {{ $default }}
{{- end }}
- name: appPort
  expression: >-
    'tidewait.dev/app-port' in variables.annotations && !('tidewait.dev/app-port' in variables.badPorts)
    ? int(string(variables.annotations['tidewait.dev/app-port']))
    : int({{ .pod }}.?spec.?containers[?0].?ports[?0].?containerPort.orValue({{ int .root.Values.inject.appPort }}))
{{- end }}

{{/* The pod, or the template of pods, of what is admitted; the argument is `object` or `oldObject`. */}}
{{- define "tidewait.cel.pod" -}}
(dyn({{ . }}).kind == 'Pod' ? dyn({{ . }}) : dyn({{ . }}).kind == 'CronJob' ? dyn({{ . }}).spec.jobTemplate.spec.template : dyn({{ . }}).spec.template)
{{- end }}

{{/* Which namespace it is for: that of the release, while nobody has switched it off there. */}}
{{- define "tidewait.inject.namespaces" -}}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ .Release.Namespace }}
  matchExpressions:
    - key: tidewait.dev/injection
      operator: NotIn
      values: [disabled]
{{- end }}

{{/* The value of an annotation in a message: in one line, and not endless. The argument is its key, as CEL. */}}
{{- define "tidewait.cel.shown" -}}
'"' + variables.annotations[{{ . }}].replace('\n', ' ').substring(0, [variables.annotations[{{ . }}].size(), 80].min()) + '"'
{{- end }}
