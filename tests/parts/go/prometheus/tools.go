//go:build tools

// Package tools pins what is built here; nothing of it is compiled into anything else.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
