{{/* Where the pods find the context files of their connections, data.json and control.json, and beside each in a
folder of its name what it refers to. */}}
{{- define "harmony-fleet.natsDir" -}}/etc/harmony-fleet/nats{{- end -}}

{{/* The connections that have a context file, as JSON: name → settings. The control connection is there only when
something about it differs; the services take that of the data connection otherwise. */}}
{{- define "harmony-fleet.connections" -}}
{{- $data := omit .Values.nats "control" -}}
{{- $control := .Values.nats.control -}}
{{- $all := dict "data" $data -}}
{{- $auth := or $control.creds.secretName $control.nkey.secretName -}}
{{- $tls := or $control.tls.caSecretName $control.tls.certSecretName (kindIs "bool" $control.tls.first) -}}
{{- if or $control.url $auth $tls $control.inboxPrefix $control.contextSecret.secretName -}}
{{- if and $data.contextSecret.secretName (not $control.url) (not $control.contextSecret.secretName) -}}
{{- fail "nats.control: with nats.contextSecret set, the rest of the data connection is not known here: set nats.control.url or nats.control.contextSecret too" -}}
{{- end -}}
{{- $merged := dict
  "url" ($control.url | default $data.url)
  "creds" (ternary $control.creds $data.creds (not (empty $auth)))
  "nkey" (ternary $control.nkey $data.nkey (not (empty $auth)))
  "inboxPrefix" ($control.inboxPrefix | default $data.inboxPrefix)
  "contextSecret" $control.contextSecret -}}
{{- $ca := ternary $control.tls $data.tls (not (empty $control.tls.caSecretName)) -}}
{{- $cert := ternary $control.tls $data.tls (not (empty $control.tls.certSecretName)) -}}
{{- $_ := set $merged "tls" (dict
  "caSecretName" $ca.caSecretName "caKey" $ca.caKey
  "certSecretName" $cert.certSecretName "certKey" $cert.certKey "keyKey" $cert.keyKey
  "first" (ternary $control.tls.first $data.tls.first (kindIs "bool" $control.tls.first))) -}}
{{- $_ := set $all "control" $merged -}}
{{- end -}}
{{- range $name, $c := $all -}}
{{- if and $c.creds.secretName $c.nkey.secretName -}}
{{- fail (printf "nats: the %s connection has both creds and nkey: set one of them" $name) -}}
{{- end -}}
{{- end -}}
{{- $all | toJson -}}
{{- end -}}

{{/* The file of one connection in a Secret, as a list of (secret, key, path) in JSON. */}}
{{- define "harmony-fleet.natsFiles" -}}
{{- $c := .connection -}}
{{- $files := list -}}
{{- if $c.contextSecret.secretName -}}
{{- $files = append $files (dict "secret" $c.contextSecret.secretName "key" $c.contextSecret.key "path" (printf "%s.json" .name)) -}}
{{- else -}}
{{- range $file := list
  (dict "field" "creds" "secret" $c.creds.secretName "key" $c.creds.key)
  (dict "field" "nkey" "secret" $c.nkey.secretName "key" $c.nkey.key)
  (dict "field" "ca" "secret" $c.tls.caSecretName "key" $c.tls.caKey)
  (dict "field" "cert" "secret" $c.tls.certSecretName "key" $c.tls.certKey)
  (dict "field" "key" "secret" $c.tls.certSecretName "key" $c.tls.keyKey) -}}
{{- if $file.secret -}}
{{- $files = append $files (set $file "path" (printf "%s/%s" $.name $file.field)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $files | toJson -}}
{{- end -}}

{{/* The context files that the chart writes, as JSON: file name → content. They name files, and hold no secret. */}}
{{- define "harmony-fleet.natsContexts" -}}
{{- $dir := include "harmony-fleet.natsDir" . -}}
{{- $contexts := dict -}}
{{- range $name, $c := include "harmony-fleet.connections" . | fromJson -}}
{{- if not $c.contextSecret.secretName -}}
{{- $context := dict "description" (printf "%s connection of Harmony Fleet" $name) "url" $c.url -}}
{{- range include "harmony-fleet.natsFiles" (dict "name" $name "connection" $c) | fromJsonArray -}}
{{- $_ := set $context .field (printf "%s/%s" $dir .path) -}}
{{- end -}}
{{- if $c.tls.first -}}{{- $_ := set $context "tls_first" true -}}{{- end -}}
{{- if $c.inboxPrefix -}}{{- $_ := set $context "inbox_prefix" $c.inboxPrefix -}}{{- end -}}
{{- $_ := set $contexts (printf "%s.json" $name) (toPrettyJson $context) -}}
{{- end -}}
{{- end -}}
{{- $contexts | toJson -}}
{{- end -}}
