# Projections of hidden states onto the class embedding, and the labels of the tokens that they belong to.


rule project:
    """Hidden states of a shard projected onto the class embedding"""
    input:
        manifest="<results>/data/{dataset}/{split}/manifest.parquet",
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        states="<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet",
        predictions="<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet",
    output:
        projections="<results>/projections/{model}/{dataset}/{split}/{shard}.parquet",
        class_logits="<results>/class_logits/{model}/{dataset}/{split}/{shard}.parquet",
    log:
        "<logs>/project/{model}/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/project/{model}/{dataset}/{split}/{shard}.tsv"
    cache: CACHING
    conda:
        "../envs/classlens.yaml"
    threads: paired(SHARDS)
    resources:
        **ON_DEVICE,
        mem_mb=memory(8),
        runtime=240,
    params:
        settings=plan.projection_settings(),
        shard=lambda wildcards: wildcards.shard,
        code=code("project.py"),
    message:
        "Projecting hidden states of {wildcards.model} on {wildcards.dataset}, {wildcards.split}, shard {wildcards.shard}"
    shell:
        'python "$SCRIPTS"/project.py --log {log:q} --threads {threads}'
        " --device {resources.device:q} --jobs-per-gpu {resources.jobs_per_gpu:q} --mem-mb {resources.mem_mb:q}"
        " --manifest {input.manifest:q}"
        ' --model "$(dirname {input.card:q})"'
        " --shard {params.shard:q} --states {input.states:q}"
        " --predictions {input.predictions:q} --top-k {params.settings[top_k]:q} --classes {params.settings[classes]:q}"
        " --protocol {params.settings[protocol]:q} --projections {output.projections:q} --class-logits {output.class_logits:q}"


rule tokens:
    """Whether each image token lies on the object, by the masks"""
    input:
        manifest=eval_manifest,
        card="<results>/models/{model}/model.json",
    output:
        "<results>/tokens/{model}/{dataset}.parquet",
    log:
        "<logs>/tokens/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/tokens/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=60,
        root=root,
    params:
        protocol=settings["protocol"],
        code=code("tokens.py"),
    message:
        "Labelling the tokens of {wildcards.model} on {wildcards.dataset} by the masks"
    shell:
        'python "$SCRIPTS"/tokens.py --log {log:q} --threads {threads} --protocol {params.protocol:q}'
        " --manifest {input.manifest:q} --root {resources.root:q} --card {input.card:q} --tokens {output:q}"
