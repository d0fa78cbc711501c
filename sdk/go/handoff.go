// Package handoff writes test suites for Handoff.
//
//go:generate go run ./internal/generate
package handoff
