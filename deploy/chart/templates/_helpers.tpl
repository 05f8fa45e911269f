{{/* The services, in the order in which they are listed everywhere. */}}
{{- define "harmony-fleet.services" -}}
{{- list "patcher" "reconciler" "aggregator" | toJson -}}
{{- end -}}

{{- define "harmony-fleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for the longest suffix, "-reconciler", and for what Kubernetes adds to the names of pods. */}}
{{- define "harmony-fleet.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The namespace of Deployments and Devices. */}}
{{- define "harmony-fleet.fleet" -}}
{{- default .Release.Namespace .Values.fleet -}}
{{- end -}}

{{/* (dict "root" $ "component" "patcher"): what selects its pods. It must never change: the selector of a Deployment
is immutable. */}}
{{- define "harmony-fleet.selector" -}}
app.kubernetes.io/name: {{ include "harmony-fleet.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* (dict "root" $ "component" "patcher" "tag" ""). No label says that Helm manages it: Helm adds that itself, and the
plain manifests are rendered from this too. The version is that of the image, so that an upgrade which leaves a service
at its version does not restart it for a label. */}}
{{- define "harmony-fleet.labels" -}}
{{ include "harmony-fleet.selector" . }}
app.kubernetes.io/part-of: harmony-fleet
app.kubernetes.io/version: {{ .tag | default .root.Values.image.tag | default .root.Chart.AppVersion | trunc 63 | trimAll "-_." | quote }}
{{- end -}}

{{/* (dict "root" $ "name" "patcher" "tag" ""): the reference of an image. */}}
{{- define "harmony-fleet.image" -}}
{{- $image := .root.Values.image -}}
{{- $path := printf "%s/%s:%s" $image.repository .name (.tag | default $image.tag | default .root.Chart.AppVersion) -}}
{{- if $image.registry -}}{{ printf "%s/%s" $image.registry $path }}{{- else -}}{{ $path }}{{- end -}}
{{- end -}}

{{/* What the level "restricted" of the Pod Security Standards asks for, and a fixed user: that of the images. */}}
{{- define "harmony-fleet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "harmony-fleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* (dict "pods" .Values.pods "own" .Values.patcher): where pods may run. */}}
{{- define "harmony-fleet.placement" -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" }}
{{- with (index $.own $field | default (index $.pods $field)) }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
