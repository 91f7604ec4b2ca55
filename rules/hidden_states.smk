# Hidden states, memory keys and predictions, from one forward pass per image and model. Memory keys are of the analysed split only.
ruleorder: extract_with_memory_keys > extract


rule extract:
    """Hidden states of a shard of images, in one forward pass"""
    input:
        manifest="<results>/data/{dataset}/{split}/manifest.parquet",
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
    output:
        states=kept("<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet"),
        predictions="<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet",
    log:
        "<logs>/extract/{model}/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/extract/{model}/{dataset}/{split}/{shard}.tsv"
    cache: CACHING
    conda:
        "../envs/classlens.yaml"
    threads: paired(SHARDS)
    resources:
        **ON_DEVICE,
        mem_mb=memory(8),
        runtime=240,
        root=root,
        batch_size=settings["compute"]["batch_size"],
        workers=settings["compute"]["workers"],
    params:
        settings=plan.extraction_settings(),
        shard=lambda wildcards: wildcards.shard,
        code=code("extract.py"),
    message:
        "Extracting hidden states of {wildcards.model} on {wildcards.dataset}, {wildcards.split}, shard {wildcards.shard}"
    shell:
        'python "$SCRIPTS"/extract.py --log {log:q} --threads {threads}'
        " --device {resources.device:q} --jobs-per-gpu {resources.jobs_per_gpu:q} --mem-mb {resources.mem_mb:q}"
        " --batch-size {resources.batch_size:q} --workers {resources.workers:q} --precision {params.settings[precision]:q}"
        " --manifest {input.manifest:q} --root {resources.root:q}"
        ' --model "$(dirname {input.card:q})"'
        " --shard {params.shard:q} --dtype {params.settings[dtype]:q}"
        " --protocol {params.settings[protocol]:q} --outputs {output:q}"


use rule extract as extract_with_memory_keys with:
    """The same, and the memories that each token uses most"""
    output:
        states=kept("<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet"),
        predictions="<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet",
        memory_keys="<results>/memory_keys/{model}/{dataset}/{split}/{shard}.parquet",
    wildcard_constraints:
        model=one_of_analysed(plan.models_with("memories")),
    cache: CACHING


rule predictions:
    """What a model predicts for every image"""
    input:
        shards_of("<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet"),
    output:
        "<results>/predictions/{model}/{dataset}/{split}.parquet",
    log:
        "<logs>/predictions/{model}/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/predictions/{model}/{dataset}/{split}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=10,
    params:
        protocol=settings["protocol"],
        code=code("predictions.py"),
    message:
        "Collecting the predictions of {wildcards.model} on {wildcards.dataset}, {wildcards.split}"
    shell:
        'python "$SCRIPTS"/predictions.py --log {log:q} --threads {threads} --protocol {params.protocol:q}'
        " --shards {input:q} --predictions {output:q}"
