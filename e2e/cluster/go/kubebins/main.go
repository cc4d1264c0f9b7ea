// Command kubebins holds every Kubernetes program of the test cluster that runs on in one executable: they share nearly
// all of their code, so one link replaces seven and every running copy shares its pages. argv[0] chooses the program, or
// else argv[1].
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var programs = map[string]func() int{
	"etcd":                    runEtcd,
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllers.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubelet":                 func() int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
	"kube-proxy":              func() int { return cli.Run(proxy.NewProxyCommand()) },
	"netpol":                  runNetpol,
}

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func choose() func() int {
	if run, ok := programs[filepath.Base(os.Args[0])]; ok {
		return run
	}
	if len(os.Args) < 2 {
		return nil
	}
	run := programs[os.Args[1]]
	if run != nil {
		os.Args = os.Args[1:]
	}
	return run
}

func main() {
	run := choose()
	if run == nil {
		names := make([]string, 0, len(programs))
		for name := range programs {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintln(os.Stderr, "usage: kubebins PROGRAM [ARGUMENT]...; programs:", names)
		os.Exit(2)
	}
	os.Exit(run())
}
