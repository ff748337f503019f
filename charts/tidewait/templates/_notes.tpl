{{/* Who may poll, and how curl looks for each way; the argument is the root. */}}
{{- define "tidewait.notes.access" -}}
{{- $access := .Values.access }}
{{- $host := printf "ADDRESS-OF-A-POD:%d" (int .Values.ports.describe) }}
{{- if include "tidewait.hasService" . }}
{{- $host = printf "%s.%s.svc:%d" (include "tidewait.serviceName" .) .Release.Namespace (int .Values.service.port) }}
{{- end }}
{{- $url := printf "%s://%s/PATH" (include "tidewait.scheme" .) $host }}
{{- if .Values.tls.secretName }}
{{- $url = printf "--cacert ca.crt %s" $url }}
{{- end }}
{{- $certificate := "--cert client.crt --key client.key" }}
{{- $required := eq .Values.tls.clientAuth "required" }}
{{- if $required }}
{{- $url = printf "%s %s" $certificate $url }}
{{- end }}
{{- if $access.anonymous -}}
Whoever reaches the port may poll (access.anonymous).
{{- else -}}
Who may poll, where PATH is that of a DescribeOperation:
{{- end }}
{{- with $access.tokens.secretName }}

Whoever has a token of Secret {{ . }}, key {{ $access.tokens.key }} (tidewait token NAME makes one, and the line for the Secret):

  curl --header "Authorization: Bearer $TOKEN" {{ $url }}
{{- end }}
{{- with $access.users.secretName }}

Whoever has a name and password of Secret {{ . }}, key {{ $access.users.key }} (htpasswd -nB NAME makes its line):

  curl --user NAME {{ $url }}
{{- end }}
{{- with $access.kubernetes.audiences }}

Service accounts, such as one called node:

  TOKEN=$(kubectl create token node --namespace {{ $.Release.Namespace }} --audience {{ first . }})
  curl --header "Authorization: Bearer $TOKEN" {{ $url }}
{{- end }}
{{- range $access.issuers }}

Whoever has a token (JWT) of {{ .url }} for the audience {{ .audience }}:

  curl --header "Authorization: Bearer $JWT" {{ $url }}
{{- end }}
{{- if .Values.tls.clientCaSecretName }}

Whoever has a certificate of an authority in Secret {{ .Values.tls.clientCaSecretName }}{{ if $required }}; all others are refused{{ end }}:

  curl {{ if not $required }}{{ $certificate }} {{ end }}{{ $url }}
{{- end }}
{{- with .Values.tls.secretName }}

Where the authority of the server's certificate is in its Secret:

  kubectl get secret {{ . }} --namespace {{ $.Release.Namespace }} --output 'jsonpath={.data.ca\.crt}' | base64 --decode >ca.crt
{{- end }}
{{- if $access.rules }}

What they may poll is for access.rules and the rules of each operation to say; nothing else is allowed.
{{- end }}
{{- if ne $access.authorization "rules" }}

RBAC{{ if eq $access.authorization "both" }} must allow what they poll, beside the rules{{ else }} decides what they may poll{{ end }}: the verb get on describeoperations/state, as in examples/nodes.yaml of the chart.
{{- end }}
{{- end }}
