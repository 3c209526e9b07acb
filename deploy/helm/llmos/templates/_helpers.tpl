{{/* The labels of a component: (list . "gateway"). */}}
{{- define "llmos.labels" -}}
app.kubernetes.io/name: llmos
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The pods of a component, as a NetworkPolicy's peer. */}}
{{- define "llmos.peer" -}}
{podSelector: {matchLabels: {app.kubernetes.io/name: llmos, app.kubernetes.io/instance: {{ (index . 0).Release.Name }}, app.kubernetes.io/component: {{ index . 1 }}}}}
{{- end }}

{{/* What every pod has: (list . VALUES), VALUES with nodeSelector and tolerations. */}}
{{- define "llmos.pod" -}}
{{- $root := index . 0 }}{{ $own := index . 1 -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container has: (list . "llmos-gateway"). */}}
{{- define "llmos.container" -}}
{{- $image := (index . 0).Values.image }}{{ $name := index . 1 }}{{ $digest := index $image.digests $name -}}
image: {{ $image.registry }}/{{ $name }}{{ if $digest }}@{{ $digest }}{{ else }}:{{ $image.tag }}{{ end }}
imagePullPolicy: {{ $image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Secrets by the name under /run/llmos where they are mounted; those that are not set are left out. */}}
{{- define "llmos.secretMounts" -}}
{{- range $name, $secret := . }}{{ if $secret }}
- {name: {{ $name }}, mountPath: /run/llmos/{{ $name }}, readOnly: true}
{{- end }}{{ end }}
{{- end }}

{{/* Of an authority's Secret only the certificate is mounted: it may hold a server's private key. */}}
{{- define "llmos.secretVolumes" -}}
{{- range $name, $secret := . }}{{ if $secret }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0400
    {{- if hasSuffix "-ca" $name }}
    items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end }}{{ end }}
{{- end }}

{{- define "llmos.storeSecrets" -}}
redis: {{ .Values.store.urlSecret }}
redis-ca: {{ .Values.store.caSecret | quote }}
redis-cert: {{ .Values.store.clientCertSecret | quote }}
{{- end }}

{{- define "llmos.storeEnv" -}}
- {name: LLMOS_REDIS_URL_FILE, value: /run/llmos/redis/url}
{{- if .Values.store.caSecret }}
- {name: LLMOS_REDIS_CA_FILE, value: /run/llmos/redis-ca/ca.crt}
{{- end }}
{{- if .Values.store.clientCertSecret }}
- {name: LLMOS_REDIS_CERT_FILE, value: /run/llmos/redis-cert/tls.crt}
- {name: LLMOS_REDIS_KEY_FILE, value: /run/llmos/redis-cert/tls.key}
{{- end }}
{{- end }}

{{/*
A folder of `llmos mpc init` at /run/llmos/mpc: (list FOLDER SECRET CLAIM), FOLDER being `prepared` or `model`.
Paths in mpc.yaml count from where the file really is. A Secret's files are links into a folder of its own; a subPath is the file itself.
*/}}
{{- define "llmos.mpcMounts" -}}
- {name: mpc, mountPath: /run/llmos/mpc/mpc.yaml, subPath: mpc.yaml, readOnly: true}
- {name: mpc, mountPath: /run/llmos/mpc/certificates, readOnly: true}
- {name: mpc-{{ index . 0 }}, mountPath: /run/llmos/mpc/{{ index . 0 }}, readOnly: true}
{{- end }}

{{- define "llmos.mpcVolumes" -}}
- {name: mpc, secret: {secretName: {{ index . 1 }}, defaultMode: 0400}}
- {name: mpc-{{ index . 0 }}, persistentVolumeClaim: {claimName: {{ index . 2 }}, readOnly: true}}
{{- end }}

{{/*
How a probe asks: (dict "path" … "port" … "tls" BOOL "mutual" BOOL). Where only clients with a certificate get in, the kubelet does not;
a process in the pod asks with the certificate of probeSecret. It asks its own pod, so the server's name is not checked.
*/}}
{{- define "llmos.probe" -}}
{{- if .mutual -}}
exec:
  command:
    - python3
    - -c
    - |
      import http.client, ssl, sys
      context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
      context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
      context.load_cert_chain("/run/llmos/probe/tls.crt", "/run/llmos/probe/tls.key")
      connection = http.client.HTTPSConnection("127.0.0.1", {{ .port }}, context=context, timeout=5)
      connection.request("GET", "{{ .path }}")
      sys.exit(connection.getresponse().status != 200)
{{- else -}}
httpGet: {path: {{ .path }}, port: {{ .port }}, scheme: {{ ternary "HTTPS" "HTTP" .tls }}}
{{- end }}
timeoutSeconds: 6
{{- end }}

{{- define "llmos.dns" -}}
to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}

{{- define "llmos.superlink" -}}
{{ .Values.trainer.superlink | default (printf "%s-superlink:9400" .Release.Name) }}
{{- end }}
