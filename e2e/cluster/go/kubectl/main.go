// Command kubectl is the upstream program. It is no part of kubebins: it is started hundreds of times by the tests, and
// what initialises itself in the other programs takes longer than most of what it is asked for.
package main

import (
	"fmt"
	"os"

	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
)

// Errors are printed as upstream does: once, without usage.
func main() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
