{{- define "sekisho.labels" -}}
app.kubernetes.io/name: sekisho
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sekisho
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Labels that select one component's pods. Argument: the component's name. */}}
{{- define "sekisho.selector" -}}
app.kubernetes.io/name: sekisho
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* The image of a component with the registry override. Arguments: root, component. */}}
{{- define "sekisho.image" -}}
{{- $image := index .root.Values.images .component -}}
{{- $repository := $image.repository -}}
{{- if .root.Values.registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .root.Values.registry) (regexReplaceAll "^[^/]*[.:][^/]*/" $repository "") -}}
{{- end -}}
{{- if $image.digest -}}{{ $repository }}@{{ $image.digest }}{{- else -}}{{ $repository }}:{{ default .root.Chart.AppVersion $image.tag }}{{- end -}}
{{- end }}

{{- define "sekisho.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sekisho.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "sekisho.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sekisho.probes" -}}
startupProbe: {httpGet: {path: /healthz, port: health}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 60}
livenessProbe: {httpGet: {path: /healthz, port: health}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
readinessProbe: {httpGet: {path: /readyz, port: health}, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 3}
{{- end }}

{{- define "sekisho.commonEnv" -}}
- {name: PYTHONUNBUFFERED, value: "1"}
- name: SEKISHO_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: SEKISHO_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- with .Values.metrics.otlpEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end }}
