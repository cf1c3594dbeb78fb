{{/* Before the names of all that is made. */}}
{{- define "parley.name" -}}
{{- contains "parley" .Release.Name | ternary .Release.Name (printf "%s-parley" .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Labels of an object: dict "root" . "part" "registry". */}}
{{- define "parley.labels" -}}
{{ include "parley.selector" . }}
app.kubernetes.io/part-of: parley
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* Labels by which a part's pods are found. They never change. */}}
{{- define "parley.selector" -}}
app.kubernetes.io/name: parley-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* An image of ours: dict "root" . "name" .Values.registry.image. A name with a tag, a digest or a path of its own is taken as it is. */}}
{{- define "parley.image" -}}
{{- $image := .root.Values.image }}
{{- if regexMatch "[:@/]" .name }}{{ .name }}
{{- else }}{{ with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .name }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end }}
{{- end }}

{{- define "parley.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* What restricted pods have. dict "user" 65532 */}}
{{- define "parley.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  {{- with .user }}
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  fsGroup: {{ . }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "parley.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Where a part's pods run: dict "root" . "part" "registry" "of" .Values.registry. Without an affinity of yours they keep apart if they can. */}}
{{- define "parley.placement" -}}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "parley.selector" . | nindent 6 }}
{{- end }}

{{/* URL of the registry within the cluster. */}}
{{- define "parley.registryUrl" -}}
http://{{ include "parley.name" . }}-registry.{{ .Release.Namespace }}.svc:8420
{{- end }}

{{/* How a volume is claimed, or what is there instead when no size is given: dict "of" .Values.postgresql */}}
{{- define "parley.claim" -}}
volumeClaimTemplates:
- metadata:
    name: data
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .of.storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources: {requests: {storage: {{ .of.storage }}}}
{{- end }}

{{/* Pods of agents, in any namespace that the operator looks after: peers of a NetworkPolicy. */}}
{{- define "parley.agentPods" -}}
- podSelector:
    matchExpressions: [{key: parley.dev/agent, operator: Exists}]
  {{- if .Values.operator.namespaces }}
  namespaceSelector:
    matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ append .Values.operator.namespaces .Release.Namespace | uniq | toJson }}}
  {{- else }}
  namespaceSelector: {}
  {{- end }}
{{- end }}

{{- define "parley.dns" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}

{{/* What may be called of the engines, as egress rules: those of the chart, and the user's own by the ports of their URLs. */}}
{{- define "parley.engineEgress" -}}
{{- $name := include "parley.name" . }}
{{- range $part, $ports := dict "postgresql" (list 5432) "rocketmq" (list 8080 8081 9876 10911) }}
{{- if (index $.Values $part).enabled }}
- to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $.Release.Namespace }}}}, podSelector: {matchLabels: {{ include "parley.selector" (dict "root" $ "part" $part) | fromYaml | toJson }}}}]
  ports: [{{ range $i, $port := $ports }}{{ if $i }}, {{ end }}{port: {{ $port }}, protocol: TCP}{{ end }}]
{{- end }}
{{- end }}
{{- if .Values.networkPolicy.engines }}
{{ toYaml .Values.networkPolicy.engines }}
{{- else }}
{{- range $url := list .Values.platform.store .Values.platform.queue .Values.platform.bus .Values.platform.blobs }}
{{- with $url }}
- ports: [{port: {{ include "parley.port" . }}, protocol: TCP}]
{{- end }}
{{- end }}
{{- if .Values.platform.existing }}
- ports: [{port: 5432, protocol: TCP}, {port: 8081, protocol: TCP}, {port: 9876, protocol: TCP}, {port: 10911, protocol: TCP}, {port: 443, protocol: TCP}]
{{- end }}
{{- end }}
{{- end }}

{{/* The port that an address leads to. */}}
{{- define "parley.port" -}}
{{- $defaults := dict "postgresql" "5432" "rocketmq" "8081" "rocketmqs" "8081" "nacos" "8848" "https" "443" "http" "80" "s3" "443" }}
{{- $found := urlParse . }}
{{- if and (eq $found.scheme "s3") (contains "endpoint=" .) }}{{ $found = urlParse (regexFind "https?://[^&]+" .) }}{{ end }}
{{- default (get $defaults $found.scheme) (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $found.host)) }}
{{- end }}
