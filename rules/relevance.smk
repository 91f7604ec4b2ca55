# Relevance maps of every method, and what they are worth: deletion curves, and agreement with the masks.


rule relevance:
    """Relevance maps of every method"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        probes=probe_ranks,
    output:
        maps="<results>/relevance/{model}/{dataset}.parquet",
        heads="<results>/relevance/{model}/{dataset}_heads.parquet",
        shown="<results>/relevance/{model}/{dataset}_shown.parquet",
    log:
        "<logs>/relevance/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/relevance/{model}/{dataset}.tsv"
    cache: CACHING
    conda:
        "../envs/classlens.yaml"
    threads: paired(len(plan.models_with("relevance")))
    resources:
        **ON_DEVICE,
        mem_mb=memory(8),
        runtime=240,
        root=root,
        batch_size=settings["compute"]["batch_size"],
        workers=settings["compute"]["workers"],
    params:
        settings=plan.relevance_settings(),
        code=code("relevance.py"),
    message:
        "Making relevance maps of {wildcards.model} on {wildcards.dataset}"
    shell:
        'python "$SCRIPTS"/relevance.py --log {log:q} --threads {threads}'
        " --device {resources.device:q} --jobs-per-gpu {resources.jobs_per_gpu:q} --mem-mb {resources.mem_mb:q}"
        " --batch-size {resources.batch_size:q} --workers {resources.workers:q} --precision {params.settings[precision]:q}"
        " --manifest {input.manifest:q} --root {resources.root:q}"
        ' --model "$(dirname {input.card:q})"'
        " --probes {input.probes:q} --classes {params.settings[classes]:q}"
        " --images {params.settings[images]:q} --seed {params.settings[seed]:q} --protocol {params.settings[protocol]:q}"
        " --relevance {output.maps:q} --heads {output.heads:q} --shown {output.shown:q}"


rule deletion:
    """What a model predicts as tokens are removed by relevance"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        relevance="<results>/relevance/{model}/{dataset}.parquet",
    output:
        "<results>/deletion/{model}/{dataset}_images.parquet",
    log:
        "<logs>/deletion/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/deletion/{model}/{dataset}.tsv"
    cache: CACHING
    conda:
        "../envs/classlens.yaml"
    threads: paired(len(plan.models_with("deletion")))
    resources:
        **ON_DEVICE,
        mem_mb=memory(8),
        runtime=1440,
        root=root,
        batch_size=settings["compute"]["batch_size"],
        workers=settings["compute"]["workers"],
    params:
        settings=plan.deletion_settings(),
        code=code("deletion.py"),
    message:
        "Deleting tokens of {wildcards.model} on {wildcards.dataset} by their relevance"
    shell:
        'python "$SCRIPTS"/deletion.py --log {log:q} --threads {threads}'
        " --device {resources.device:q} --jobs-per-gpu {resources.jobs_per_gpu:q} --mem-mb {resources.mem_mb:q}"
        " --batch-size {resources.batch_size:q} --workers {resources.workers:q} --precision {params.settings[precision]:q}"
        " --manifest {input.manifest:q} --root {resources.root:q}"
        ' --model "$(dirname {input.card:q})"'
        " --relevance {input.relevance:q} --steps {params.settings[steps]:q}"
        " --seed {params.settings[seed]:q} --protocol {params.settings[protocol]:q} --deletion {output:q}"


rule deletion_curves:
    """Accuracy over removed tokens, and the areas under it"""
    input:
        "<results>/deletion/{model}/{dataset}_images.parquet",
    output:
        curves="<results>/deletion/{model}/{dataset}.parquet",
        area="<results>/deletion/{model}/{dataset}_area.parquet",
    log:
        "<logs>/deletion_curves/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/deletion_curves/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=30,
    params:
        settings=dict(seed=settings["seed"], protocol=settings["protocol"]),
        code=code("deletion_curves.py"),
    message:
        "Measuring the areas under the deletion curves of {wildcards.model} on {wildcards.dataset}"
    shell:
        'python "$SCRIPTS"/deletion_curves.py --log {log:q} --threads {threads} --deletion {input:q}'
        " --seed {params.settings[seed]:q} --protocol {params.settings[protocol]:q} --curves {output.curves:q} --area {output.area:q}"


rule segmentation:
    """How well relevance maps agree with the masks"""
    input:
        manifest=eval_manifest,
        card="<results>/models/{model}/model.json",
        relevance="<results>/relevance/{model}/{dataset}.parquet",
    output:
        "<results>/segmentation/{model}/{dataset}.parquet",
    log:
        "<logs>/segmentation/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/segmentation/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4),
        runtime=120,
    params:
        root=root_unremembered,
        protocol=settings["protocol"],
        code=code("segmentation.py"),
    message:
        "Comparing the relevance maps of {wildcards.model} with the masks of {wildcards.dataset}"
    shell:
        'python "$SCRIPTS"/segmentation.py --log {log:q} --threads {threads} --protocol {params.protocol:q} --manifest {input.manifest:q}'
        " --root {params.root:q} --card {input.card:q} --relevance {input.relevance:q} --segmentation {output:q}"
