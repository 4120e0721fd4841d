{{/* Names, labels and what the pods have in common. */}}

{{- define "slipway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "slipway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "slipway.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "slipway.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a component: (list . "gateway"). */}}
{{- define "slipway.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "slipway.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The same as k=v,k=v. */}}
{{- define "slipway.pairs" -}}
{{- $pairs := list -}}
{{- range $key, $value := include "slipway.selector" . | fromYaml -}}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{- define "slipway.labels" -}}
{{- $root := index . 0 -}}
{{ include "slipway.selector" . }}
app.kubernetes.io/part-of: slipway
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image's reference: (list . IMAGE DEFAULT-TAG). */}}
{{- define "slipway.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := $image.repository -}}
{{- with $root.Values.global.imageRegistry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default (index . 2) $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "slipway.tag" -}}
{{- default .Chart.AppVersion .Values.global.imageTag -}}
{{- end -}}

{{- define "slipway.serviceAccount" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $account := (index $root.Values $component).serviceAccount -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "slipway.fullname" $root) $component) $account.name -}}
{{- else -}}
{{- required (printf "%s.serviceAccount.create is false: name the ServiceAccount to use in %s.serviceAccount.name." $component $component) $account.name -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the engines' key. The operator copies it, under this name, to where engines run. */}}
{{- define "slipway.engineKeySecret" -}}
{{- default (printf "%s-engine-key" (include "slipway.fullname" .)) .Values.engineKey.existingSecret.name -}}
{{- end -}}

{{- define "slipway.redisSecret" -}}
{{- if eq .Values.redis.mode "embedded" -}}
{{- printf "%s-redis" (include "slipway.fullname" .) -}}
{{- else -}}
{{- required "redis.mode is external: put the URL of your Redis into a Secret (kubectl create secret generic slipway-redis --from-literal=url=rediss://:PASSWORD@HOST:6379/0) and name it in redis.external.existingSecret.name." .Values.redis.external.existingSecret.name -}}
{{- end -}}
{{- end -}}

{{- define "slipway.tlsSecret" -}}
{{- if .Values.tls.secretName -}}
{{- .Values.tls.secretName -}}
{{- else if .Values.tls.certManager.enabled -}}
{{- printf "%s-tls" (include "slipway.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* Settings (a map) as environment variables: (list "SLIPWAY_GATEWAY_" MAP). Lists and numbers are JSON. */}}
{{- define "slipway.settings" -}}
{{- $prefix := index . 0 -}}
{{- range $name, $value := index . 1 }}
- name: {{ printf "%s%s" $prefix (upper $name) }}
  value: {{ (kindIs "string" $value) | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end -}}

{{/* Where a state folder lies on a volume of its own. Not empty: yes. */}}
{{- define "slipway.persistent" -}}
{{- if and .Values.gateway.persistence.enabled (not .Values.database.existingSecret.name) (not .Values.database.ephemeral) -}}yes{{- end -}}
{{- end -}}

{{/* Security of every pod and container, as Pod Security `restricted` asks. */}}
{{- define "slipway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where a component's pods may run: (list . VALUES). */}}
{{- define "slipway.placement" -}}
{{- $values := index . 1 -}}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "slipway.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What cannot work is refused before anything is installed, with the mend. */}}
{{- define "slipway.check" -}}
{{- $several := or (gt (int .Values.gateway.replicas) 1) .Values.gateway.autoscaling.enabled -}}
{{- if and $several (not .Values.database.existingSecret.name) (not .Values.database.ephemeral) -}}
{{- fail "Several gateways cannot share a SQLite database. Put the URL of a PostgreSQL into a Secret (kubectl create secret generic slipway-database --from-literal=url=postgresql://USER:PASSWORD@HOST/NAME) and name it in database.existingSecret.name; or set gateway.replicas to 1 and gateway.autoscaling.enabled to false." -}}
{{- end -}}
{{- if not (or (include "slipway.persistent" .) .Values.database.existingSecret.name .Values.database.ephemeral) -}}
{{- fail "Without a volume the SQLite database would be lost with the gateway's pod. Set gateway.persistence.enabled to true, name a Secret with the URL of a PostgreSQL in database.existingSecret.name, or set database.ephemeral to true if losing it is no harm." -}}
{{- end -}}
{{- if and .Values.database.ephemeral .Values.database.existingSecret.name -}}
{{- fail "database.ephemeral and database.existingSecret.name exclude each other: set one of them." -}}
{{- end -}}
{{- if and .Values.gateway.autoscaling.enabled (gt (int .Values.gateway.autoscaling.minReplicas) (int .Values.gateway.autoscaling.maxReplicas)) -}}
{{- fail "gateway.autoscaling.minReplicas is above maxReplicas: lower it, or raise maxReplicas." -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not (concat .Values.ingress.hosts .Values.httpRoute.hostnames)) -}}
{{- fail "tls.certManager is enabled, but there is no host to make a certificate for: list it in ingress.hosts or httpRoute.hostnames." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress is enabled without a host: list the names that clients call in ingress.hosts." -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute is enabled without a Gateway: name it in httpRoute.parentRefs." -}}
{{- end -}}
{{- end -}}

{{/* Where pods may go by a NetworkPolicy: name servers, TCP ports anywhere, Slipway's own, more: (list . POLICY). */}}
{{- define "slipway.egress" -}}
{{- $policy := index . 1 -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- with $policy.egressPorts }}
- ports:
    {{- range . }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
# Engines, in any namespace.
- to:
    - namespaceSelector: {}
      podSelector:
        matchLabels:
          app.kubernetes.io/name: slipway-engine
  ports:
    - {protocol: TCP, port: 8001}
{{- with $policy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
