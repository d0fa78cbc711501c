module github.com/handoff-tests/handoff/sdk/go/example

go 1.26

require github.com/handoff-tests/handoff/sdk/go v0.1.0

replace github.com/handoff-tests/handoff/sdk/go => ../
