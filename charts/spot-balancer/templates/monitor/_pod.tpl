{{/* What a pod of the monitor holds, whether a CronJob starts it or a Deployment keeps it. */}}
{{- define "spot-balancer.monitorPod" -}}
{{- $fullname := include "spot-balancer.fullname" . -}}
serviceAccountName: {{ $fullname }}-monitor
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "spot-balancer.podSecurity" . | nindent 2 }}
containers:
  - name: monitor
    image: {{ include "spot-balancer.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      - monitor
      - --config
      - /etc/spot-balancer/config/config.yaml
      - --namespace
      - {{ .Release.Namespace }}
      - --book
      - {{ $fullname }}
      {{- if .Values.monitor.loop.enabled }}
      - --loop
      {{- end }}
    resources: {{- toYaml .Values.monitor.resources | nindent 6 }}
    securityContext: {{- include "spot-balancer.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - {name: config, mountPath: /etc/spot-balancer/config, readOnly: true}
      - {name: api-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
      - {name: tmp, mountPath: /tmp}
      {{- if .Values.prometheus.existingSecret }}
      - {name: prometheus, mountPath: /etc/spot-balancer/prometheus, readOnly: true}
      {{- end }}
volumes:
  - name: config
    configMap: {name: {{ $fullname }}-config}
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 16Mi}
  - {{- include "spot-balancer.tokenVolume" . | nindent 4 }}
  {{- with .Values.prometheus.existingSecret }}
  - name: prometheus
    secret: {secretName: {{ . }}, defaultMode: 288}
  {{- end }}
{{- end }}
