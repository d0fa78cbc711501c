module github.com/handoff-tests/handoff/sdk/go

go 1.26
