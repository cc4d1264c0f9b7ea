{{- define "sekisho.labels" -}}
app.kubernetes.io/name: sekisho
app.kubernetes.io/instance: {{ .Release.Name | quote }}
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
  - name: {{ . | quote }}
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

{{/* What the ledger of a process is told beyond sizes; takes root, component and record. */}}
{{- define "sekisho.recordEnv" -}}
- {name: SEKISHO_RECORD_MAX, value: {{ .record.max | quote }}}
- {name: SEKISHO_RECORD_NAME, value: {{ .record.name | default (printf "sekisho/%s/%s" .root.Release.Namespace .component) | quote }}}
{{- if .record.keySecret }}
- {name: SEKISHO_RECORD_KEY, value: /etc/sekisho/record-key/log.key}
- {name: SEKISHO_RECORD_KEY_BEFORE, value: /etc/sekisho/record-key/before.key}
{{- end }}
{{- with .record.retentionDays }}
- {name: SEKISHO_RECORD_RETENTION_DAYS, value: {{ . | quote }}}
{{- end }}
{{- with .record.copy.url }}
- {name: SEKISHO_RECORD_COPY_TO, value: {{ . | quote }}}
- {name: SEKISHO_RECORD_COPY_REGION, value: {{ $.record.copy.region | quote }}}
{{- with $.record.copy.endpoint }}
- {name: SEKISHO_RECORD_COPY_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if $.record.copy.credentialsSecret }}
- {name: SEKISHO_RECORD_COPY_CREDENTIALS, value: /etc/sekisho/record-copy}
{{- end }}
{{- if $.record.copy.caConfigMap }}
- {name: SEKISHO_RECORD_COPY_CA, value: /etc/sekisho/record-copy-ca/ca.crt}
{{- end }}
{{- end }}
{{- end }}

{{- define "sekisho.recordMounts" -}}
- {name: record, mountPath: /var/lib/sekisho}
{{- if .keySecret }}
- {name: record-key, mountPath: /etc/sekisho/record-key, readOnly: true}
{{- end }}
{{- if .copy.credentialsSecret }}
- {name: record-copy, mountPath: /etc/sekisho/record-copy, readOnly: true}
{{- end }}
{{- if .copy.caConfigMap }}
- {name: record-copy-ca, mountPath: /etc/sekisho/record-copy-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "sekisho.recordVolumes" -}}
{{- with .keySecret }}
- name: record-key
  projected:
    sources:
      - secret: {name: {{ . | quote }}, items: [{key: log.key, path: log.key}]}
      # there while the key is changed
      - secret: {name: {{ . | quote }}, optional: true, items: [{key: before.key, path: before.key}]}
{{- end }}
{{- with .copy.credentialsSecret }}
- {name: record-copy, secret: {secretName: {{ . | quote }}}}
{{- end }}
{{- with .copy.caConfigMap }}
- {name: record-copy-ca, configMap: {name: {{ . | quote }}}}
{{- end }}
{{- if not .storageClass }}
- {name: record, emptyDir: {sizeLimit: {{ .size | quote }}}}
{{- end }}
{{- end }}
