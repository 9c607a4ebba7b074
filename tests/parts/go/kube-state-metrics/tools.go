//go:build tools

// Package tools pins what is built here; nothing of it is compiled into anything else.
package tools

import (
	_ "k8s.io/kube-state-metrics/v2"
)
