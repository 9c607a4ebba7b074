{{/* The chart's name: app.kubernetes.io/name, and the words in object names. */}}
{{- define "spot-balancer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Names of all objects start with this; 40 characters leave room for what a CronJob's pods append. */}}
{{- define "spot-balancer.fullname" -}}
{{- $name := include "spot-balancer.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Usage: include "spot-balancer.labels" (dict "context" $ "component" "server") */}}
{{- define "spot-balancer.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
{{ include "spot-balancer.selectorLabels" . }}
{{- with .context.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What selectors use; it never changes within a release. */}}
{{- define "spot-balancer.selectorLabels" -}}
app.kubernetes.io/name: spot-balancer
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "spot-balancer.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "spot-balancer.tlsSecret" -}}
{{- if eq .Values.tls.mode "existingSecret" -}}
{{- required "tls.mode existingSecret needs tls.existingSecret.name" .Values.tls.existingSecret.name -}}
{{- else -}}
{{- include "spot-balancer.fullname" . }}-tls
{{- end -}}
{{- end }}

{{/* helm's own pair as JSON: {ca, crt, key}, each in base64. Kept in the values, which all templates of a rendering share:
made twice, the CA of the Secret, of the registration and of the checksum would be different ones. */}}
{{- define "spot-balancer.pair" -}}
{{- if not (hasKey .Values.tls "pair") -}}
{{- $fullname := include "spot-balancer.fullname" . -}}
{{- $pair := dict -}}
{{- /* A new CA on each upgrade would leave running pods with a leaf nobody trusts. */ -}}
{{- with (lookup "v1" "Secret" .Release.Namespace (include "spot-balancer.tlsSecret" .)).data -}}
{{- if and (index . "ca.crt") (index . "tls.crt") (index . "tls.key") -}}
{{- $pair = dict "ca" (index . "ca.crt") "crt" (index . "tls.crt") "key" (index . "tls.key") -}}
{{- end -}}
{{- end -}}
{{- if not $pair -}}
{{- $days := int .Values.tls.helm.validityDays -}}
{{- $host := printf "%s.%s.svc" $fullname .Release.Namespace -}}
{{- $ca := genCA (printf "%s-ca" $fullname) $days -}}
{{- $leaf := genSignedCert $host nil (list $host $fullname (printf "%s.%s" $fullname .Release.Namespace) (printf "%s.cluster.local" $host)) $days $ca -}}
{{- $pair = dict "ca" ($ca.Cert | b64enc) "crt" ($leaf.Cert | b64enc) "key" ($leaf.Key | b64enc) -}}
{{- end -}}
{{- $_ := set .Values.tls "pair" $pair -}}
{{- end -}}
{{- .Values.tls.pair | toJson -}}
{{- end }}

{{/* The CA that signed our certificate, in base64; empty where nobody gave it. */}}
{{- define "spot-balancer.caBundle" -}}
{{- if eq .Values.tls.mode "helm" -}}
{{- (include "spot-balancer.pair" . | fromJson).ca -}}
{{- else -}}
{{- with .Values.tls.existingSecret.caBundle }}{{ b64enc . }}{{ end -}}
{{- end -}}
{{- end }}

{{/* Pod Security "restricted", for a pod. */}}
{{- define "spot-balancer.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Pod Security "restricted", for a container. */}}
{{- define "spot-balancer.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The API token as the kubelet would mount it, but only where a container asks for it. */}}
{{- define "spot-balancer.tokenVolume" -}}
name: api-token
projected:
  # 0440 with the pod's group: readable by us and by nobody else.
  defaultMode: 288
  sources:
    # The kubelet renews it well before these seconds are over.
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{/* The affinity that keeps off spot nodes; empty where no label of theirs is given. */}}
{{- define "spot-balancer.avoidSpot" -}}
{{- with .Values.server.avoidNodeLabels -}}
nodeAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    {{- range . }}
    - weight: 100
      preference:
        matchExpressions:
          - {key: {{ .key }}, operator: NotIn, values: [{{ .value | quote }}]}
    {{- end }}
{{- end -}}
{{- end }}

{{/* Reading rights that sync and monitor share. */}}
{{- define "spot-balancer.readRules" -}}
- apiGroups: [""]
  resources: [nodes, pods, namespaces]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments, replicasets, statefulsets]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [cronjobs, jobs]
  verbs: [get, list, watch]
{{- end }}

{{/* Reading rights that bound moves: what would refuse one, or leave its pod Pending. */}}
{{- define "spot-balancer.constraintRules" -}}
- apiGroups: [""]
  resources: [persistentvolumeclaims, persistentvolumes, resourcequotas]
  verbs: [get, list, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch]
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [get, list, watch]
{{- end }}

{{/* Binds the monitor's account to one of our ClusterRoles in one namespace.
Usage: include "spot-balancer.moverBinding" (dict "context" $ "namespace" "shop" "role" "mover") */}}
{{- define "spot-balancer.moverBinding" -}}
{{- $fullname := include "spot-balancer.fullname" .context -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $fullname }}-{{ .role }}
  namespace: {{ .namespace }}
  labels: {{- include "spot-balancer.labels" (dict "context" .context "component" "mover") | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $fullname }}-{{ .role }}}
subjects:
  - {kind: ServiceAccount, name: {{ $fullname }}-monitor, namespace: {{ .context.Release.Namespace }}}
{{- end }}

{{/* "yes" where the configuration lets any workload be moved: by its mode, or by a rule's. */}}
{{- define "spot-balancer.configMoves" -}}
{{- $config := tpl .Values.config . | fromYaml -}}
{{- $modes := list (get $config "mode") -}}
{{- range $rule := get $config "rules" | default list -}}
{{- if kindIs "map" $rule -}}
{{- $modes = append $modes (get $rule "mode") -}}
{{- end -}}
{{- end -}}
{{- if has "move" $modes }}yes{{ end -}}
{{- end }}
