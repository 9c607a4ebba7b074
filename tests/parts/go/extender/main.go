// What Go makes of a scheduler extender's answers, and an extender of its own to be measured beside.
//
//	extender decode priorities|filter   reads answers from standard input as the scheduler does, one after the other,
//	                                    and prints each as canonical JSON
//	extender serve ADDRESS CERT KEY LOADS   answers /extender/prioritize over TLS by the loads of a JSON file
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "decode" && args[1] == "priorities":
		return decode[extenderv1.HostPriorityList](os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == "decode" && args[1] == "filter":
		return decode[extenderv1.ExtenderFilterResult](os.Stdin, os.Stdout)
	case len(args) == 5 && args[0] == "serve":
		return serve(args[1], args[2], args[3], args[4])
	}
	return errors.New("extender decode priorities|filter | serve ADDRESS CERT KEY LOADS")
}

func decode[T any](in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	encoder := json.NewEncoder(out)
	for {
		var answer T
		if err := decoder.Decode(&answer); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := encoder.Encode(answer); err != nil {
			return err
		}
	}
}

// load is what a node uses, and what it could give.
type load struct {
	CPU              float64 `json:"cpu"`
	Memory           float64 `json:"memory"`
	AllocatableCPU   float64 `json:"allocatableCpu"`
	AllocatableBytes float64 `json:"allocatableBytes"`
}

type server struct{ loads map[string]load }

func serve(address, cert, key, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	loads := map[string]load{}
	if err := json.Unmarshal(content, &loads); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /extender/prioritize", server{loads}.prioritize)
	mux.HandleFunc("GET /healthz", func(answer http.ResponseWriter, _ *http.Request) { answer.WriteHeader(http.StatusOK) })
	log.Printf("listening on %s with %d nodes", address, len(loads))
	return http.ListenAndServeTLS(address, cert, key, mux)
}

func (s server) prioritize(answer http.ResponseWriter, request *http.Request) {
	var args extenderv1.ExtenderArgs
	if err := json.NewDecoder(request.Body).Decode(&args); err != nil || args.Pod == nil || args.NodeNames == nil {
		http.Error(answer, "expected ExtenderArgs with NodeNames", http.StatusBadRequest)
		return
	}
	cpu, memory := requests(args.Pod)
	list := make(extenderv1.HostPriorityList, 0, len(*args.NodeNames))
	for _, name := range *args.NodeNames {
		list = append(list, extenderv1.HostPriority{Host: name, Score: s.score(name, cpu, memory)})
	}
	content, err := json.Marshal(list)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	answer.Header().Set("Content-Type", "application/json")
	answer.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if _, err := answer.Write(content); err != nil {
		log.Print(err)
	}
}

func requests(pod *corev1.Pod) (cpu, memory float64) {
	for _, container := range pod.Spec.Containers {
		cpu += container.Resources.Requests.Cpu().AsApproximateFloat64()
		memory += container.Resources.Requests.Memory().AsApproximateFloat64()
	}
	return cpu, memory
}

// score falls with the fuller of CPU and memory once the pod is there; a node without a load is in the middle.
func (s server) score(name string, cpu, memory float64) int64 {
	found, ok := s.loads[name]
	if !ok {
		return extenderv1.MaxExtenderPriority / 2
	}
	used := max((found.CPU+cpu)/found.AllocatableCPU, (found.Memory+memory)/found.AllocatableBytes)
	return int64(max(0, float64(extenderv1.MaxExtenderPriority)*(1-used)))
}
