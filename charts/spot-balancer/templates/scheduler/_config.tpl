{{/* What `spot-balancer scheduler-config --second NAME --ca-path ...` prints; a test holds the two to be the same. */}}
{{- define "spot-balancer.schedulerConfig" -}}
{{- $fullname := include "spot-balancer.fullname" . -}}
{{- $host := printf "%s.%s.svc" $fullname .Release.Namespace -}}
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection:
  leaderElect: true
  resourceName: {{ .Values.secondScheduler.name | quote }}
  resourceNamespace: {{ .Release.Namespace }}
profiles:
  - schedulerName: {{ .Values.secondScheduler.name | quote }}
extenders:
  - urlPrefix: https://{{ $host }}:443/extender
    prioritizeVerb: prioritize
    weight: {{ .Values.secondScheduler.weight }}
    {{- if include "spot-balancer.configFilters" . }}
    filterVerb: filter
    {{- end }}
    enableHTTPS: true
    tlsConfig:
      serverName: {{ $host }}
      caFile: /etc/spot-balancer/ca/ca.crt
    httpTimeout: {{ .Values.secondScheduler.httpTimeout }}
    nodeCacheCapable: true
    ignorable: true
{{- end }}

{{/* Schedulers that rules of the configuration name and this release does not run, with commas between. */}}
{{- define "spot-balancer.strangeSchedulers" -}}
{{- $names := list -}}
{{- range $rule := get (tpl .Values.config . | fromYaml) "rules" | default list -}}
{{- if kindIs "map" $rule -}}
{{- with get $rule "schedulerName" -}}
{{- $names = append $names (toString .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.secondScheduler.enabled -}}
{{- $names = without $names .Values.secondScheduler.name -}}
{{- end -}}
{{- $names | uniq | sortAlpha | join ", " -}}
{{- end }}

{{/* "yes" where the configuration sets balance.filterAbove: null and off set nothing, and a filter without a limit is a call for nothing. */}}
{{- define "spot-balancer.configFilters" -}}
{{- $balance := get (tpl .Values.config . | fromYaml) "balance" -}}
{{- if kindIs "map" $balance }}{{ with get $balance "filterAbove" }}yes{{ end }}{{ end -}}
{{- end }}
